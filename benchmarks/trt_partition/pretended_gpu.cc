// Copyright (c) 2026 PaddlePaddle Authors. All Rights Reserved.
//
// Licensed under the Apache License, Version 2.0 (the "License");
// you may not use this file except in compliance with the License.
// You may obtain a copy of the License at
//
//     http://www.apache.org/licenses/LICENSE-2.0
//
// Unless required by applicable law or agreed to in writing, software
// distributed under the License is distributed on an "AS IS" BASIS,
// WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
// See the License for the specific language governing permissions and
// limitations under the License.

// Answers the GPU build of Paddle 2.6.2 as if one GPU and TensorRT were there,
// and writes down what its TensorRT analysis decides.
//
// The analysis (IR passes, the operator teller, the partition into subgraphs)
// is plain CPU code behind a check for a device. This library is preloaded, so
// that its definitions of Paddle's own functions come before those in
// libpaddle.so and libphi.so: the questions about the device are answered here,
// copies go from host to host, and building an engine is left out. The
// libraries that Paddle opens by name (CUDA, cuDNN, cuBLAS, TensorRT) are links
// to this file. No kernel and no engine can run.
//
// Names, signatures and layouts are those of the wheel paddlepaddle-gpu 2.6.2
// and of no other; partition.py checks the version before it begins.

#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

// State of the one analysis of a process. Off until partition_begin(): with a
// device there when paddle is imported, it would set up contexts for it.
bool pretending = false;
int capability = 0;
FILE* events = nullptr;
std::string directory;

// libpaddle.so, which is loaded by the time that anything here is called.
// PARTITION_LIBPADDLE is its path.
void* Libpaddle() {
  static const char* path = getenv("PARTITION_LIBPADDLE");
  static void* library = path ? dlopen(path, RTLD_LAZY | RTLD_NOLOAD) : nullptr;
  return library;
}

// Paddle's own function of this (mangled) name.
template <typename F>
F Original(const char* name) {
  void* found = Libpaddle() ? dlsym(Libpaddle(), name) : nullptr;
  if (!found) {
    fprintf(stderr, "pretended_gpu: libpaddle.so has no %s\n", name);
    abort();
  }
  return reinterpret_cast<F>(found);
}

double Now() {
  using std::chrono::duration;
  return duration<double>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

// Begins to pretend. `into`: directory for events.txt and program.pb; `sm`:
// compute capability, 86 for 8.6. Returns 0, or 1 if it cannot.
extern "C" int partition_begin(const char* into, int sm) {
  directory = into;
  events = fopen((directory + "/events.txt").c_str(), "w");
  if (!Libpaddle() || !events) return 1;
  setvbuf(events, nullptr, _IOLBF, 0);
  capability = sm;
  pretending = true;
  return 0;
}

// ---- What is written down ---------------------------------------------------
// events.txt, one event a line, fields separated by tabs:
//   pass    NAME SECONDS   a pass begins, so long after the program began
//   op      ANSWER NODE TYPE OUTPUT...  the teller: 1 if TensorRT may have it;
//                          it may be asked more than once of a node
//   engine                 a subgraph becomes an engine
// program.pb: the last program made, as protobuf; after the analysis it holds a
// tensorrt_engine for each subgraph.

namespace google {
namespace protobuf {
class MessageLite {};
}  // namespace protobuf
}  // namespace google

namespace paddle {
namespace framework {
namespace proto {
class ProgramDesc : public google::protobuf::MessageLite {};
}  // namespace proto

class ProgramDesc {
 public:
  explicit ProgramDesc(const proto::ProgramDesc& desc);
};

ProgramDesc::ProgramDesc(const proto::ProgramDesc& desc) {
  using Construct = void (*)(ProgramDesc*, const proto::ProgramDesc&);
  static auto construct = Original<Construct>(
      "_ZN6paddle9framework11ProgramDescC1ERKNS0_5proto11ProgramDescE");
  construct(this, desc);
  if (!pretending) return;
  using Serialize = bool (*)(const google::protobuf::MessageLite*, int);
  static auto serialize = Original<Serialize>(
      "_ZNK6google8protobuf11MessageLite25SerializeToFileDescriptorEi");
  int file = open((directory + "/program.pb").c_str(),
                  O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file < 0 || !serialize(&desc, file)) abort();
  close(file);
}

namespace ir {
class Graph;

// The first members of Paddle's: virtual destructor, inputs, outputs, name.
class Node {
 public:
  virtual ~Node();
  std::vector<Node*> inputs;
  std::vector<Node*> outputs;
  std::string name;  // of an operator: its type
};

class Pass {
 public:
  Graph* Apply(Graph* graph) const;
};

Graph* Pass::Apply(Graph* graph) const {
  using Type = std::string (*)(const Pass*);
  static auto type =
      Original<Type>("_ZNK6paddle9framework2ir4Pass4TypeB5cxx11Ev");
  using Apply = Graph* (*)(const Pass*, Graph*);
  static auto apply =
      Original<Apply>("_ZNK6paddle9framework2ir4Pass5ApplyEPNS1_5GraphE");
  static double begin = Now();
  if (events) {
    fprintf(events, "pass\t%s\t%.3f\n", type(this).c_str(), Now() - begin);
  }
  return apply(this, graph);
}
}  // namespace ir
}  // namespace framework

namespace inference {
namespace tensorrt {
class OpTeller {
 public:
  bool Tell(const framework::ir::Node* node, bool int8, bool dynamic,
            bool forbid_dynamic);
};

bool OpTeller::Tell(const framework::ir::Node* node, bool int8, bool dynamic,
                    bool forbid_dynamic) {
  using Tell =
      bool (*)(OpTeller*, const framework::ir::Node*, bool, bool, bool);
  static auto tell = Original<Tell>(
      "_ZN6paddle9inference8tensorrt8OpTeller4TellEPKNS_"
      "9framework2ir4NodeEbbb");
  bool answer = tell(this, node, int8, dynamic, forbid_dynamic);
  fprintf(events, "op\t%d\t%p\t%s", answer, static_cast<const void*>(node),
          node->name.c_str());
  for (auto* output : node->outputs) {
    fprintf(events, "\t%s", output->name.c_str());
  }
  fputc('\n', events);
  return answer;
}
}  // namespace tensorrt
}  // namespace inference
}  // namespace paddle

// In place of OpConverter::ConvertBlockToTRTEngine(BlockDesc*, Scope const&,
// vector<string> const&, unordered_set<string> const&, vector<string> const&,
// TensorRTEngine*), which builds an engine.
extern "C" void SkipEngine(void*) __asm__(
    "_ZN6paddle9inference8tensorrt11OpConverter23ConvertBlockToTRTEngine"
    "EPNS_9framework9BlockDescERKNS3_5ScopeERKSt6vectorINSt7__cxx1112basic_"
    "stringIcSt11char_traitsIcESaIcEEESaISF_EERKSt13unordered_setISF_St4hash"
    "ISF_ESt8equal_toISF_ESG_ESJ_PNS1_14TensorRTEngineE");
extern "C" void SkipEngine(void*) { fputs("engine\n", events); }

// ---- One GPU ----------------------------------------------------------------

enum cudaMemcpyKind { kAnyDirection };
enum cudaError { kSuccess = 0, kNoMemory = 2 };
struct CUstream_st;

namespace phi {
namespace backends {
namespace gpu {
int GetGPUDeviceCount() { return pretending ? 1 : 0; }
int GetCurrentDeviceId() { return 0; }
void SetDeviceId(int) {}
int GetGPUComputeCapability(int) { return capability; }
int GetGPURuntimeVersion(int) { return 11080; }
int GetGPUDriverVersion(int) { return 11080; }
int GetGPUMultiProcessors(int) { return 80; }
int GetGPUMaxThreadsPerMultiProcessor(int) { return 1536; }
int GetGPUMaxThreadsPerBlock(int) { return 1024; }
std::array<unsigned, 3> GetGpuMaxGridDimSize(int) {
  return {2147483647, 65535, 65535};
}
bool TensorCoreAvailable() { return true; }
void GpuDeviceSync() {}
void GpuStreamSync(CUstream_st*) {}
cudaError GpuGetLastError() { return kSuccess; }
void GpuMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                    CUstream_st*) {
  memcpy(to, from, bytes);
}
void GpuMemcpySync(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  memcpy(to, from, bytes);
}
void GpuMemsetAsync(void* to, int value, size_t bytes, CUstream_st*) {
  memset(to, value, bytes);
}
}  // namespace gpu
}  // namespace backends
}  // namespace phi

namespace paddle {
namespace platform {
constexpr size_t kMemory = size_t{8} << 30;  // bytes
void GpuMemoryUsage(size_t* available, size_t* total) {
  *available = *total = kMemory;
}
bool RecordedGpuMemGetInfo(size_t* available, size_t* total,
                           size_t* actual_available, size_t* actual_total,
                           int) {
  *available = *total = *actual_available = *actual_total = kMemory;
  return false;
}
cudaError RecordedGpuMalloc(void** pointer, size_t bytes, int, bool) {
  return posix_memalign(pointer, 4096, bytes) ? kNoMemory : kSuccess;
}
void RecordedGpuFree(void* pointer, size_t, int) { free(pointer); }
}  // namespace platform
}  // namespace paddle

// ---- The libraries that Paddle opens by name --------------------------------

extern "C" {
int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int* version) {
  *version = 11080;
  return 0;
}
int cuDeviceGetCount(int* count) {
  *count = 1;
  return 0;
}
int cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return 0;
}
int cuDeviceGetAttribute(int* value, int, int) {
  *value = 0;
  return 0;
}
int cuGetErrorString(int, const char** text) {
  *text = "no device";
  return 0;
}
}

namespace nvinfer1 {
class IPluginCreator;
class IErrorRecorder;

// Keeps what Paddle registers: its teller looks for users' plugins there. The
// virtual functions are those of TensorRT 8.5, in its order.
class PluginRegistry {
 public:
  virtual bool registerCreator(IPluginCreator& creator, const char*) noexcept {
    creators_.push_back(&creator);
    return true;
  }
  virtual IPluginCreator* const* getPluginCreatorList(
      int32_t* count) const noexcept {
    *count = static_cast<int32_t>(creators_.size());
    return creators_.data();
  }
  virtual IPluginCreator* getPluginCreator(const char*, const char*,
                                           const char*) noexcept {
    return nullptr;
  }
  virtual ~PluginRegistry() noexcept = default;
  virtual void setErrorRecorder(IErrorRecorder*) noexcept {}
  virtual IErrorRecorder* getErrorRecorder() const noexcept { return nullptr; }
  virtual bool deregisterCreator(const IPluginCreator&) noexcept {
    return false;
  }

 private:
  std::vector<IPluginCreator*> creators_;
};
}  // namespace nvinfer1

extern "C" {
// 8.5.3, which the wheel was built against.
int getInferLibVersion() { return 8503; }
nvinfer1::PluginRegistry* getPluginRegistry() {
  static nvinfer1::PluginRegistry registry;
  return &registry;
}
bool initLibNvInferPlugins(void*, const char*) { return true; }
}
