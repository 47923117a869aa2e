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

// deformable_attention: multi-scale deformable attention for inference, with or
// without the softmax of its weights and what places its samples. Paddle 2.6
// has grid_sampler, scalar loops in one thread, and a dozen copies around it.
// What a tensor holds is decided by its elements' order, so that views need no
// reshape.

#include <algorithm>

#include "deformable.h"
#define KERNELS "deformable_kernel.h"
#include "multiversion.h"
#include "paddle/extension.h"
#include "paddle/phi/core/dense_tensor.h"

namespace {

int64_t Elements(const paddle::Tensor& t) {
  int64_t n = 1;
  for (const int64_t d : t.shape()) n *= d;
  return n;
}

std::string SetLevels(const paddle::Tensor& shapes, ops::Attention* a) {
  const int64_t count = Elements(shapes) / 2;
  if (shapes.dtype() == paddle::DataType::INT64) {
    return a->SetLevels(shapes.data<int64_t>(), count);
  }
  PD_CHECK(shapes.dtype() == paddle::DataType::INT32,
           "deformable_attention: Shapes must be int32 or int64.");
  return a->SetLevels(shapes.data<int32_t>(), count);
}

// Value [N, places, ...]: heads * C elements a place.
// Offsets [N, Q, ...]: heads * maps * points * 2 elements a query.
// Weights [N, Q, ...]: heads * maps * points elements a query.
// Reference (optional) [N or 1, Q, 1, maps or 1, 1, 2 or 4], with or without
// the second and third 1.
// Shapes (optional) [maps, 2], in place of the attribute.
std::vector<paddle::Tensor> Run(
    const paddle::Tensor& value, const paddle::Tensor& offsets,
    const paddle::Tensor& weights,
    const paddle::optional<paddle::Tensor>& reference,
    const paddle::optional<paddle::Tensor>& shapes, int heads, int points,
    bool softmax, const std::vector<int>& sides) {
  for (const auto* t : {&value, &offsets, &weights}) {
    PD_CHECK(t->is_cpu() && t->dtype() == paddle::DataType::FLOAT32 &&
                 t->shape().size() >= 3,
             "deformable_attention: Value, Offsets and Weights must be float32 "
             "on the CPU, of three dimensions or more.");
  }
  PD_CHECK(heads > 0 && points > 0,
           "deformable_attention: heads and points must be above 0.");
  ops::Attention a;
  a.batch = value.shape()[0];
  a.places = value.shape()[1];
  a.queries = offsets.shape()[1];
  a.heads = heads;
  a.points = points;
  a.softmax = softmax;
  int64_t channels = 1;
  for (size_t i = 2; i < value.shape().size(); ++i) {
    channels *= value.shape()[i];
  }
  a.channels = channels / heads;
  const std::string problem = shapes
                                  ? SetLevels(*shapes, &a)
                                  : a.SetLevels(sides.data(), sides.size() / 2);
  PD_CHECK(problem.empty(), "deformable_attention: ", problem);
  const int64_t queries = a.batch * a.queries;
  PD_CHECK(channels % heads == 0 && weights.shape()[0] == a.batch &&
               offsets.shape()[0] == a.batch &&
               Elements(weights) == queries * heads * a.samples() &&
               Elements(offsets) == 2 * Elements(weights),
           "deformable_attention: for ", heads, " heads, ", a.levels.size(),
           " maps and ", points,
           " points, Value, Offsets or Weights has "
           "another size.");
  if (reference) {
    const auto r = reference->shape();
    PD_CHECK(r.size() >= 4 && (r[0] == 1 || r[0] == a.batch) &&
                 r[1] == a.queries && (r.back() == 2 || r.back() == 4),
             "deformable_attention: Reference must be [N or 1, Q, ..., 2 or "
             "4].");
    a.reference_batch = r[0];
    a.reference_size = r.back();
    a.reference_levels = 1;
    for (size_t i = 2; i + 1 < r.size(); ++i) a.reference_levels *= r[i];
    PD_CHECK((a.reference_levels == 1 ||
              a.reference_levels == static_cast<int64_t>(a.levels.size())) &&
                 reference->dtype() == paddle::DataType::FLOAT32,
             "deformable_attention: Reference must be float32, for one map or "
             "for each.");
    a.reference = reference->data<float>();
  }
  a.value = value.data<float>();
  a.offsets = offsets.data<float>();
  a.weights = weights.data<float>();
  // With memory even if it is empty: what reads a tensor without any fails.
  paddle::Tensor out =
      paddle::empty({std::max<int64_t>(a.batch, 1),
                     std::max<int64_t>(a.queries, 1), channels},
                    value.dtype(), value.place());
  static_cast<phi::DenseTensor*>(out.impl().get())
      ->Resize(phi::make_ddim({a.batch, a.queries, channels}));
  MULTIVERSION(Attend)(a, out.data<float>());
  return {out};
}

std::vector<std::vector<int64_t>> InferShape(
    const std::vector<int64_t>& value, const std::vector<int64_t>& offsets,
    const std::vector<int64_t>& weights,
    const paddle::optional<std::vector<int64_t>>& reference,
    const paddle::optional<std::vector<int64_t>>& shapes, const int& heads,
    const int& points, const bool& softmax, const std::vector<int>& sides) {
  int64_t channels = 1;
  for (size_t i = 2; i < value.size(); ++i) {
    channels = value[i] < 0 || channels < 0 ? -1 : channels * value[i];
  }
  return {{value[0], offsets[1], channels}};
}

std::vector<paddle::DataType> InferDtype(
    const paddle::DataType& value, const paddle::DataType& offsets,
    const paddle::DataType& weights,
    const paddle::optional<paddle::DataType>& reference,
    const paddle::optional<paddle::DataType>& shapes) {
  return {value};
}

}  // namespace

PD_BUILD_OP(deformable_attention)
    .Inputs({"Value", "Offsets", "Weights", paddle::Optional("Reference"),
             paddle::Optional("Shapes")})
    .Outputs({"Out"})
    .Attrs({"heads: int", "points: int", "softmax: bool",
            "shapes: std::vector<int>"})
    .SetKernelFn(PD_KERNEL(Run))
    .SetInferShapeFn(PD_INFER_SHAPE(InferShape))
    .SetInferDtypeFn(PD_INFER_DTYPE(InferDtype));
