#pragma once
// What follows from a layout, and a checkpoint beside it.

#include <string>
#include <vector>

#include <arkit/model_layout.h>
#include <arkit/model_source.h>

namespace arkit::sdk {

// What passes BlockHook::attention, in block order: blocks with plain attention.
[[nodiscard]] std::vector<AttentionPlan> attention_plans(const ModelLayout& layout);

[[nodiscard]] std::vector<std::string> block_list_names(const ModelLayout& layout);

// Is every tensor there that the layout names, with the shape it says and in a type arkit computes with? Packed layers
// are held to their shapes and biases. Of a layout that is whole (ModelLayout::whole) also: is there none in its blocks that it does
// not name? Names and headers alone; nothing is loaded. Throws ErrorCode::input naming the tensor, ErrorCode::unsupported for a type.
void check_tensors(const ModelLayout& layout, const ModelSource& source);

}  // namespace arkit::sdk
