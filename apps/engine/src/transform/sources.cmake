list(APPEND ARKIT_ENGINE_SOURCES
  src/transform/algs.cpp
  src/transform/channel_fold.cpp
  src/transform/fold_record.cpp
  src/transform/folded_source.cpp
  src/transform/checkpoint_transform.cpp
  src/transform/model_roles.cpp
  src/transform/planned_transform.cpp
  src/transform/scale_places.cpp)
