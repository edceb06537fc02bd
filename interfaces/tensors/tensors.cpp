#include "interfaces/tensors/tensors.h"

GPUMCP_INTERFACE(tensors, interface) {
  using namespace gpumcp::interfaces;
  expose_describe_tensor(interface);
  expose_slice_tensor(interface);
  expose_arithmetic(interface);
  expose_cosine(interface);
  expose_top_k(interface);
  expose_pca(interface);
  expose_cluster(interface);
  expose_plot_tensor(interface);
  expose_tensor_files(interface);
  expose_artifact_list(interface);
}
