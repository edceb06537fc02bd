// The built-in interface "tensors": what an agent does with the tensors that other tools keep for
// it by URI, so that their numbers never travel. One file an exposed function or small family.
// Needs no model; each function reads artifacts, computes on the CPU in float64, and keeps what is
// large.
#pragma once

#include <string>

#include "interfaces/interface.h"

namespace gpumcp::interfaces {

void expose_describe_tensor(Interface& interface);
void expose_slice_tensor(Interface& interface);
void expose_arithmetic(Interface& interface);
void expose_cosine(Interface& interface);
void expose_top_k(Interface& interface);
void expose_pca(Interface& interface);
void expose_cluster(Interface& interface);
void expose_plot_tensor(Interface& interface);
void expose_tensor_files(Interface& interface);   // save_tensor, load_tensor
void expose_artifact_list(Interface& interface);  // list_artifacts, drop_artifacts

}  // namespace gpumcp::interfaces
