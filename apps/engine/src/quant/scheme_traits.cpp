#include "quant/scheme_traits.h"

namespace arkit {

SchemeFor schemes_of(const Registry& registry) {
  return [&registry](std::string_view data_type) -> const Scheme& { return registry.scheme_for(data_type); };
}

SchemeTraits traits_of(const LayerQuant& quant, const SchemeFor& scheme_for) {
  return scheme_for(quant.weight.data_type).traits(quant);
}

}  // namespace arkit
