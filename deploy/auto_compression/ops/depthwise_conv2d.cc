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

// depthwise_conv2d_fast: depthwise convolution with its gradient for training
// on the CPU, where Paddle 2.6's own kernels are scalar loops. How it works is
// told in depthwise_kernel.h.

#include "depthwise.h"
#define KERNELS "depthwise_kernel.h"
#include "multiversion.h"
#include "paddle/extension.h"

namespace {

void Check(const paddle::Tensor& x, const paddle::Tensor& filter, int stride,
           int padding) {
  PD_CHECK(x.is_cpu() && filter.is_cpu(),
           "depthwise_conv2d_fast: X and Filter must be on the CPU.");
  PD_CHECK(x.dtype() == paddle::DataType::FLOAT32 &&
               filter.dtype() == paddle::DataType::FLOAT32,
           "depthwise_conv2d_fast: X and Filter must be float32.");
  PD_CHECK(x.shape().size() == 4 && filter.shape().size() == 4 &&
               filter.shape()[0] == x.shape()[1] && filter.shape()[1] == 1,
           "depthwise_conv2d_fast: X must be [N, C, H, W] and Filter "
           "[C, 1, kh, kw].");
  PD_CHECK(stride >= 1 && padding >= 0,
           "depthwise_conv2d_fast: stride must be >= 1 and padding >= 0.");
  PD_CHECK(x.shape()[2] + 2 * padding >= filter.shape()[2] &&
               x.shape()[3] + 2 * padding >= filter.shape()[3],
           "depthwise_conv2d_fast: the kernel is larger than the padded "
           "input.");
}

std::vector<paddle::Tensor> DepthwiseConv2d(const paddle::Tensor& x,
                                            const paddle::Tensor& filter,
                                            int stride, int padding) {
  Check(x, filter, stride, padding);
  const ops::Geometry g(x.shape(), filter.shape(), stride, padding);
  paddle::Tensor out = paddle::empty(
      {g.batch, g.channels, g.out_height, g.out_width}, x.dtype(), x.place());
  MULTIVERSION(Forward)
  (g, x.data<float>(), filter.data<float>(), out.data<float>());
  return {out};
}

std::vector<paddle::Tensor> DepthwiseConv2dGrad(const paddle::Tensor& x,
                                                const paddle::Tensor& filter,
                                                const paddle::Tensor& out_grad,
                                                int stride, int padding) {
  Check(x, filter, stride, padding);
  const ops::Geometry g(x.shape(), filter.shape(), stride, padding);
  paddle::Tensor x_grad = paddle::empty(x.shape(), x.dtype(), x.place());
  paddle::Tensor filter_grad =
      paddle::empty(filter.shape(), filter.dtype(), filter.place());
  MULTIVERSION(Backward)
  (g, x.data<float>(), filter.data<float>(), out_grad.data<float>(),
   x_grad.data<float>(), filter_grad.data<float>());
  return {x_grad, filter_grad};
}

std::vector<std::vector<int64_t>> InferShape(const std::vector<int64_t>& x,
                                             const std::vector<int64_t>& filter,
                                             const int& stride,
                                             const int& padding) {
  auto size = [&](int64_t n, int64_t kernel) -> int64_t {
    return n < 0 ? -1 : (n + 2 * padding - kernel) / stride + 1;
  };
  return {{x[0], x[1], size(x[2], filter[2]), size(x[3], filter[3])}};
}

std::vector<paddle::DataType> InferDtype(const paddle::DataType& x,
                                         const paddle::DataType& filter) {
  return {x};
}

}  // namespace

PD_BUILD_OP(depthwise_conv2d_fast)
    .Inputs({"X", "Filter"})
    .Outputs({"Out"})
    .Attrs({"stride: int", "padding: int"})
    .SetKernelFn(PD_KERNEL(DepthwiseConv2d))
    .SetInferShapeFn(PD_INFER_SHAPE(InferShape))
    .SetInferDtypeFn(PD_INFER_DTYPE(InferDtype));

PD_BUILD_GRAD_OP(depthwise_conv2d_fast)
    .Inputs({"X", "Filter", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Filter")})
    .Attrs({"stride: int", "padding: int"})
    .SetKernelFn(PD_KERNEL(DepthwiseConv2dGrad));
