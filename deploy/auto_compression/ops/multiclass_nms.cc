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

// multiclass_nms_fast: what Paddle's multiclass_nms3 computes for boxes that
// all classes share, without its comparisons one by one.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "multiclass_nms_kernel.h"
#include "paddle/extension.h"
#include "paddle/phi/core/dense_tensor.h"

namespace {

// [rows, columns] with memory even if it has no rows: what reads a tensor
// without any fails.
paddle::Tensor Rows(int64_t rows, int64_t columns, paddle::DataType dtype,
                    const paddle::Place& place) {
  auto made =
      paddle::empty({std::max<int64_t>(rows, 1), columns}, dtype, place);
  static_cast<phi::DenseTensor*>(made.impl().get())
      ->Resize(phi::make_ddim({rows, columns}));
  return made;
}

std::vector<paddle::Tensor> Select(const paddle::Tensor& boxes,
                                   const paddle::Tensor& scores,
                                   int background_label, float score_threshold,
                                   int nms_top_k, float nms_threshold,
                                   int keep_top_k, bool normalized) {
  const int64_t images = scores.shape()[0], classes = scores.shape()[1],
                count = scores.shape()[2];
  PD_CHECK(
      boxes.shape()[0] == images && boxes.shape()[1] == count &&
          boxes.shape()[2] == 4,
      "multiclass_nms_fast: BBoxes must be [N, M, 4] and Scores [N, C, M]");
  const nms::Options options = {background_label, score_threshold, nms_top_k,
                                nms_threshold,    keep_top_k,      normalized};
  std::vector<std::vector<nms::Selected>> found;
  int64_t total = 0;
  for (int64_t n = 0; n < images; ++n) {
    found.push_back(nms::Select(boxes.data<float>() + n * count * 4,
                                scores.data<float>() + n * classes * count,
                                classes, count, options));
    total += found.back().size();
  }
  auto out = Rows(total, 6, boxes.dtype(), boxes.place());
  auto index = Rows(total, 1, paddle::DataType::INT32, boxes.place());
  auto counts = paddle::empty({images}, paddle::DataType::INT32, boxes.place());
  float* row = out.data<float>();
  int* place = index.data<int>();
  for (int64_t n = 0; n < images; ++n) {
    counts.data<int>()[n] = found[n].size();
    for (const nms::Selected& one : found[n]) {
      const float* box = boxes.data<float>() + (n * count + one.place) * 4;
      row[0] = one.label;
      row[1] =
          scores.data<float>()[(n * classes + one.label) * count + one.place];
      for (int side = 0; side < 4; ++side) row[2 + side] = box[side];
      *place++ = n * count + one.place;
      row += 6;
    }
  }
  return {out, index, counts};
}

std::vector<std::vector<int64_t>> InferShape(const std::vector<int64_t>& boxes,
                                             const std::vector<int64_t>&) {
  return {{-1, 6}, {-1, 1}, {boxes[0]}};
}

std::vector<paddle::DataType> InferDtype(const paddle::DataType& boxes,
                                         const paddle::DataType&) {
  return {boxes, paddle::DataType::INT32, paddle::DataType::INT32};
}

}  // namespace

PD_BUILD_OP(multiclass_nms_fast)
    .Inputs({"BBoxes", "Scores"})
    .Outputs({"Out", "Index", "NmsRoisNum"})
    .Attrs({"background_label: int", "score_threshold: float", "nms_top_k: int",
            "nms_threshold: float", "keep_top_k: int", "normalized: bool"})
    .SetKernelFn(PD_KERNEL(Select))
    .SetInferShapeFn(PD_INFER_SHAPE(InferShape))
    .SetInferDtypeFn(PD_INFER_DTYPE(InferDtype));
