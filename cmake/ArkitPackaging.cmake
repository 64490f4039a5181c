# Install rules of the package config; CPack settings of the `dist` preset.
