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

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "paddle/extension.h"

namespace {

// Networks for other sizes of images that a thread keeps.
constexpr size_t kKept = 8;

struct Made {
  std::string text;
  std::vector<network::Dims> inputs;
  std::unique_ptr<network::Network> made;
};

network::Dims DimsOf(const std::vector<int64_t>& shape) {
  PD_CHECK(shape.size() == 4, "onednn_network: an input is not [N, C, H, W]");
  return {shape[0], shape[1], shape[2], shape[3]};
}

// The network for these inputs, the thread's own: its memory is written to. The
// text holds a digest of the parameters.
network::Network* Find(const std::string& text,
                       const std::vector<network::Dims>& inputs,
                       const std::vector<paddle::Tensor>& parameters) {
  thread_local std::list<Made> kept;
  for (auto one = kept.begin(); one != kept.end(); ++one)
    if (one->inputs == inputs && one->text == text) {
      kept.splice(kept.begin(), kept, one);
      return kept.front().made.get();
    }
  std::vector<network::Parameter> given;
  for (const paddle::Tensor& one : parameters)
    given.push_back(
        {one.data(), one.shape(),
         one.dtype() == paddle::DataType::INT8 ? onednn::kS8 : onednn::kF32});
  kept.push_front(
      {text, inputs, std::make_unique<network::Network>(text, inputs, given)});
  if (kept.size() > kKept) kept.pop_back();
  return kept.front().made.get();
}

std::vector<paddle::Tensor> Run(const std::vector<paddle::Tensor>& inputs,
                                const std::vector<paddle::Tensor>& parameters,
                                const std::string& text) {
  std::vector<network::Dims> dims;
  std::vector<const float*> data;
  for (const paddle::Tensor& one : inputs) {
    dims.push_back(DimsOf(one.shape()));
    data.push_back(one.data<float>());
  }
  std::vector<paddle::Tensor> results;
  try {
    network::Network* found = Find(text, dims, parameters);
    std::vector<float*> memory;
    for (const network::Dims& d : found->outputs()) {
      results.push_back(paddle::empty({d[0], d[1], d[2], d[3]},
                                      paddle::DataType::FLOAT32,
                                      inputs[0].place()));
      memory.push_back(results.back().data<float>());
    }
    found->Run(data, memory);
  } catch (const std::exception& e) {
    PD_THROW("onednn_network: ", e.what());
  }
  return results;
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
