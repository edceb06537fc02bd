// model.safetensors.index.json: whatever it says, only shards of the folder itself are opened, and
// each tensor comes from the shard that it names.
#include "gpu_runtime/checkpoint.h"

#include "gpu_runtime/error.h"
#include "gpu_runtime/json.h"
#include "tests/fuzz/folder.h"

using namespace gpumcp::gpu_runtime;

namespace {

std::string shard(std::string_view tensors) {
  std::string header(tensors), out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(header.size() >> (8 * i) & 0xff);
  return out + header + std::string(8, 'x');
}

// model/ has two shards, and a third lies beside it, where no index may reach.
const std::filesystem::path& model_folder() {
  static const fuzz::Folder folder;
  static const std::filesystem::path path = [] {
    folder.write("model/a.safetensors",
                 shard(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                       R"("y":{"dtype":"U8","shape":[2,2],"data_offsets":[4,8]}})"));
    folder.write("model/b.safetensors",
                 shard(R"({"y":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})"));
    folder.write("secret.safetensors",
                 shard(R"({"z":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})"));
    return folder.path() / "model";
  }();
  return path;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto& folder = model_folder();
  std::FILE* file = std::fopen((folder / "model.safetensors.index.json").c_str(), "wb");
  FUZZ_CHECK(file && std::fwrite(data, 1, size, file) == size);
  std::fclose(file);
  try {
    const Checkpoint checkpoint = Checkpoint::open(folder);
    const Json index = Json::parse(text);
    for (const auto& one : checkpoint.files()) FUZZ_CHECK(one->path().parent_path() == folder);
    FUZZ_CHECK(checkpoint.tensors().size() == index["weight_map"].size());
    for (const auto& [tensor, where] : index["weight_map"].items()) {
      const auto* entry = checkpoint.find(tensor);
      FUZZ_CHECK(entry && entry->file->path().filename() == where.get<std::string>());
      FUZZ_CHECK(entry->data().size() == entry->info->nbytes && entry->data()[0] == std::byte{'x'});
    }
  } catch (const Error& error) {
    FUZZ_CHECK(error.code() == ErrorCode::corrupt_checkpoint ||
               error.code() == ErrorCode::not_found);
  }
  return 0;
}
