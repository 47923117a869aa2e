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

// onednn_network_N: a network of convolutions as one operator with N outputs,
// see network.h.

#include "network.h"

#include <atomic>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "paddle/extension.h"
#include "paddle/phi/api/include/tensor_utils.h"

namespace {

// Networks that a thread keeps: of one text, for other sizes of images, and in
// all, of which a program may have dozens.
constexpr size_t kSizes = 8, kKept = 512;

// Memory of a result, behind a header that leads back here. While a tensor
// holds the memory, in whichever thread, `self` keeps this alive.
struct Buffer {
  static constexpr size_t kHeader = 64;
  network::Own<void> memory;
  std::atomic<bool> taken{false};
  std::shared_ptr<Buffer> self;

  explicit Buffer(size_t bytes) : memory(network::Allocate(kHeader + bytes)) {
    *static_cast<Buffer**>(memory.get()) = this;
  }
  void* data() { return static_cast<char*>(memory.get()) + kHeader; }

  // For from_blob, which calls the first function that it was ever given: it
  // must hold nothing.
  static void Release(void* data) {
    Buffer* buffer =
        *reinterpret_cast<Buffer**>(static_cast<char*>(data) - kHeader);
    const std::shared_ptr<Buffer> self = std::move(buffer->self);
    buffer->taken = false;
  }
};

struct Made {
  std::string text;
  std::vector<network::Input> inputs;
  std::unique_ptr<network::Network> made;
  std::vector<std::vector<std::shared_ptr<Buffer>>> buffers;  // of results
};

network::Input InputOf(const std::vector<int64_t>& shape) {
  if (shape.size() == 3) return {{shape[0], shape[2], 1, shape[1]}, true};
  PD_CHECK(shape.size() == 4, "onednn_network: an input has ", shape.size(),
           " axes");
  return {{shape[0], shape[1], shape[2], shape[3]}, false};
}

// The network for these inputs, the thread's own: its memory is written to. The
// text holds a digest of the parameters.
Made* Find(const std::string& text, const std::vector<network::Input>& inputs,
           const std::vector<paddle::Tensor>& parameters) {
  thread_local std::list<Made> kept;
  for (auto one = kept.begin(); one != kept.end(); ++one)
    if (one->inputs == inputs && one->text == text) {
      kept.splice(kept.begin(), kept, one);
      return &kept.front();
    }
  std::vector<network::Parameter> given;
  for (const paddle::Tensor& one : parameters)
    given.push_back(
        {one.data(), one.shape(),
         one.dtype() == paddle::DataType::INT8 ? onednn::kS8 : onednn::kF32});
  kept.push_front(
      {text, inputs, std::make_unique<network::Network>(text, inputs, given)});
  size_t sizes = 0;
  for (auto one = kept.begin(); one != kept.end();)
    if (one->text == text && ++sizes > kSizes)
      one = kept.erase(one);
    else
      ++one;
  if (kept.size() > kKept) kept.pop_back();
  return &kept.front();
}

// A tensor in memory of an earlier result that nobody holds any more, or else
// in new memory. Fresh memory would cost a page fault every 4 KiB in each run.
paddle::Tensor Result(const std::vector<int64_t>& shape,
                      const paddle::Place& place,
                      std::vector<std::shared_ptr<Buffer>>* buffers) {
  std::shared_ptr<Buffer> found;
  for (const auto& one : *buffers)
    if (!one->taken) found = one;
  if (!found) {
    size_t bytes = sizeof(float);
    for (const int64_t side : shape) bytes *= side;
    found = std::make_shared<Buffer>(bytes);
    buffers->push_back(found);
  }
  found->taken = true;
  found->self = found;
  return paddle::from_blob(found->data(), shape, paddle::DataType::FLOAT32,
                           paddle::DataLayout::NCHW, place, Buffer::Release);
}

std::vector<paddle::Tensor> Run(const std::vector<paddle::Tensor>& inputs,
                                const std::vector<paddle::Tensor>& parameters,
                                const std::string& text) {
  std::vector<network::Input> given;
  std::vector<const float*> data;
  for (const paddle::Tensor& one : inputs) {
    given.push_back(InputOf(one.shape()));
    data.push_back(one.data<float>());
  }
  try {
    Made* found = Find(text, given, parameters);
    const auto& shapes = found->made->outputs();
    found->buffers.resize(shapes.size());
    std::vector<paddle::Tensor> results;
    std::vector<float*> memory;
    for (size_t i = 0; i < shapes.size(); ++i) {
      results.push_back(
          Result(shapes[i], inputs[0].place(), &found->buffers[i]));
      memory.push_back(results.back().data<float>());
    }
    found->made->Run(data, memory);
    return results;
  } catch (const std::exception& e) {
    PD_THROW("onednn_network: ", e.what());
  }
}

template <int kOutputs>
std::vector<std::vector<int64_t>> InferShape(
    const std::vector<std::vector<int64_t>>& inputs,
    const std::vector<std::vector<int64_t>>&) {
  return std::vector<std::vector<int64_t>>(kOutputs,
                                           {inputs[0][0], -1, -1, -1});
}

template <int kOutputs>
std::vector<paddle::DataType> InferDtype(const std::vector<paddle::DataType>&,
                                         const std::vector<paddle::DataType>&) {
  return std::vector<paddle::DataType>(kOutputs, paddle::DataType::FLOAT32);
}

std::vector<std::string> Names(int outputs) {
  std::vector<std::string> names;
  for (int i = 0; i < outputs; ++i) names.push_back("Out" + std::to_string(i));
  return names;
}

}  // namespace

// Paddle's custom operators cannot have an output of several tensors: one
// operator for each number of outputs.
#define BUILD_NETWORK(count)                                 \
  PD_BUILD_OP(onednn_network_##count)                        \
      .Inputs({paddle::Vec("X"), paddle::Vec("Parameters")}) \
      .Outputs(Names(count))                                 \
      .Attrs({"text: std::string"})                          \
      .SetKernelFn(PD_KERNEL(Run))                           \
      .SetInferShapeFn(PD_INFER_SHAPE(InferShape<count>))    \
      .SetInferDtypeFn(PD_INFER_DTYPE(InferDtype<count>))

BUILD_NETWORK(1);
BUILD_NETWORK(2);
BUILD_NETWORK(3);
BUILD_NETWORK(4);
BUILD_NETWORK(5);
BUILD_NETWORK(6);
BUILD_NETWORK(7);
BUILD_NETWORK(8);
BUILD_NETWORK(9);
BUILD_NETWORK(10);
BUILD_NETWORK(11);
BUILD_NETWORK(12);
