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

// deformable_sample: the core of multi-scale deformable attention with its
// gradient for training on the CPU, where Paddle 2.6 has grid_sample, scalar
// loops over one channel after the other, and copies around it.
//
// A query's sample is bilinear in the four places around it, whose channels lie
// side by side: one pass over (query, head, map, point) reads and writes each
// of them once, and keeps nothing for the gradient but the inputs.

#include "deformable.h"
#define KERNELS "deformable_kernel.h"
#include "multiversion.h"
#include "paddle/extension.h"

namespace {

ops::Attention MakeAttention(const paddle::Tensor& value,
                             const paddle::Tensor& locations,
                             const paddle::Tensor& weights,
                             const std::vector<int>& shapes) {
  const auto v = value.shape(), l = locations.shape(), w = weights.shape();
  for (const auto* t : {&value, &locations, &weights}) {
    PD_CHECK(t->is_cpu() && t->dtype() == paddle::DataType::FLOAT32,
             "deformable_sample: all inputs must be float32 on the CPU.");
  }
  PD_CHECK(v.size() == 4 && l.size() == 6 && l[0] == v[0] && l[2] == v[2] &&
               l[5] == 2 && w == std::vector<int64_t>(l.begin(), l.end() - 1),
           "deformable_sample: Value must be [N, places, heads, C], Locations "
           "[N, Q, heads, maps, points, 2] and Weights the same without 2.");
  ops::Attention a;
  a.batch = v[0];
  a.places = v[1];
  a.heads = v[2];
  a.channels = v[3];
  a.queries = l[1];
  a.points = l[4];
  const std::string problem = a.SetLevels(shapes.data(), shapes.size() / 2);
  PD_CHECK(problem.empty(), "deformable_sample: ", problem);
  PD_CHECK(static_cast<int64_t>(a.levels.size()) == l[3],
           "deformable_sample: there are ", a.levels.size(),
           " maps, Locations has ", l[3], ".");
  a.value = value.data<float>();
  a.offsets = locations.data<float>();
  a.weights = weights.data<float>();
  return a;
}

std::vector<paddle::Tensor> Sample(const paddle::Tensor& value,
                                   const paddle::Tensor& locations,
                                   const paddle::Tensor& weights,
                                   const std::vector<int>& shapes) {
  const ops::Attention a = MakeAttention(value, locations, weights, shapes);
  paddle::Tensor out = paddle::empty({a.batch, a.queries, a.step()},
                                     value.dtype(), value.place());
  MULTIVERSION(Attend)(a, out.data<float>());
  return {out};
}

std::vector<paddle::Tensor> SampleGrad(const paddle::Tensor& value,
                                       const paddle::Tensor& locations,
                                       const paddle::Tensor& weights,
                                       const paddle::Tensor& out_grad,
                                       const std::vector<int>& shapes) {
  const ops::Attention a = MakeAttention(value, locations, weights, shapes);
  paddle::Tensor value_grad =
      paddle::full(value.shape(), 0, value.dtype(), value.place());
  paddle::Tensor locations_grad =
      paddle::empty(locations.shape(), value.dtype(), value.place());
  paddle::Tensor weights_grad =
      paddle::empty(weights.shape(), value.dtype(), value.place());
  MULTIVERSION(Backward)
  (a, out_grad.data<float>(), value_grad.data<float>(),
   locations_grad.data<float>(), weights_grad.data<float>());
  return {value_grad, locations_grad, weights_grad};
}

std::vector<std::vector<int64_t>> InferShape(
    const std::vector<int64_t>& value, const std::vector<int64_t>& locations,
    const std::vector<int64_t>& weights, const std::vector<int>& shapes) {
  const bool known = value[2] >= 0 && value[3] >= 0;
  return {{value[0], locations[1], known ? value[2] * value[3] : -1}};
}

std::vector<paddle::DataType> InferDtype(const paddle::DataType& value,
                                         const paddle::DataType& locations,
                                         const paddle::DataType& weights) {
  return {value};
}

}  // namespace

PD_BUILD_OP(deformable_sample)
    .Inputs({"Value", "Locations", "Weights"})
    .Outputs({"Out"})
    .Attrs({"shapes: std::vector<int>"})
    .SetKernelFn(PD_KERNEL(Sample))
    .SetInferShapeFn(PD_INFER_SHAPE(InferShape))
    .SetInferDtypeFn(PD_INFER_DTYPE(InferDtype));

PD_BUILD_GRAD_OP(deformable_sample)
    .Inputs({"Value", "Locations", "Weights", paddle::Grad("Out")})
    .Outputs({paddle::Grad("Value"), paddle::Grad("Locations"),
              paddle::Grad("Weights")})
    .Attrs({"shapes: std::vector<int>"})
    .SetKernelFn(PD_KERNEL(SampleGrad));
