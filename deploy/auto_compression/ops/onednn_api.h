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

// The part of oneDNN's C interface that network.h calls. Paddle's wheel brings
// the library (3.2.1) and no headers. Names, numbers and order of arguments are
// those of oneDNN 3, which keeps them within a major version.

#ifndef DEPLOY_AUTO_COMPRESSION_OPS_ONEDNN_API_H_
#define DEPLOY_AUTO_COMPRESSION_OPS_ONEDNN_API_H_

#include <cstddef>
#include <cstdint>

extern "C" {

struct dnnl_engine;
struct dnnl_stream;
struct dnnl_memory_desc;
struct dnnl_memory;
struct dnnl_primitive_desc;
struct dnnl_primitive;
struct dnnl_primitive_attr;
struct dnnl_post_ops;

typedef int64_t dnnl_dims_t[12];

struct dnnl_exec_arg_t {
  int arg;
  dnnl_memory* memory;
};

struct dnnl_version_t {
  int major, minor, patch;
  const char* hash;
  unsigned cpu_runtime, gpu_runtime;
};

const dnnl_version_t* dnnl_version(void);

int dnnl_engine_create(dnnl_engine**, int kind, size_t index);
int dnnl_stream_create(dnnl_stream**, dnnl_engine*, unsigned flags);
int dnnl_stream_wait(dnnl_stream*);
int dnnl_stream_destroy(dnnl_stream*);

int dnnl_memory_desc_create_with_strides(dnnl_memory_desc**, int ndims,
                                         const dnnl_dims_t dims, int data_type,
                                         const dnnl_dims_t strides);
int dnnl_memory_desc_create_with_tag(dnnl_memory_desc**, int ndims,
                                     const dnnl_dims_t dims, int data_type,
                                     int tag);
int dnnl_memory_desc_destroy(dnnl_memory_desc*);
int dnnl_memory_desc_clone(dnnl_memory_desc**, const dnnl_memory_desc*);
size_t dnnl_memory_desc_get_size(const dnnl_memory_desc*);

int dnnl_memory_create(dnnl_memory**, const dnnl_memory_desc*, dnnl_engine*,
                       void* handle);
int dnnl_memory_set_data_handle(dnnl_memory*, void* handle);
int dnnl_memory_destroy(dnnl_memory*);

int dnnl_primitive_attr_create(dnnl_primitive_attr**);
int dnnl_primitive_attr_destroy(dnnl_primitive_attr*);
int dnnl_primitive_attr_set_scales_mask(dnnl_primitive_attr*, int arg,
                                        int mask);
int dnnl_primitive_attr_set_zero_points_mask(dnnl_primitive_attr*, int arg,
                                             int mask);
int dnnl_primitive_attr_set_post_ops(dnnl_primitive_attr*,
                                     const dnnl_post_ops*);
int dnnl_post_ops_create(dnnl_post_ops**);
int dnnl_post_ops_destroy(dnnl_post_ops*);
int dnnl_post_ops_append_eltwise(dnnl_post_ops*, int algorithm, float alpha,
                                 float beta);
int dnnl_post_ops_append_binary(dnnl_post_ops*, int algorithm,
                                const dnnl_memory_desc*);

int dnnl_convolution_forward_primitive_desc_create(
    dnnl_primitive_desc**, dnnl_engine*, int prop_kind, int algorithm,
    const dnnl_memory_desc* source, const dnnl_memory_desc* weights,
    const dnnl_memory_desc* bias, const dnnl_memory_desc* result,
    const dnnl_dims_t strides, const dnnl_dims_t dilates,
    const dnnl_dims_t padding_before, const dnnl_dims_t padding_after,
    const dnnl_primitive_attr*);
int dnnl_inner_product_forward_primitive_desc_create(
    dnnl_primitive_desc**, dnnl_engine*, int prop_kind,
    const dnnl_memory_desc* source, const dnnl_memory_desc* weights,
    const dnnl_memory_desc* bias, const dnnl_memory_desc* result,
    const dnnl_primitive_attr*);
int dnnl_layer_normalization_forward_primitive_desc_create(
    dnnl_primitive_desc**, dnnl_engine*, int prop_kind,
    const dnnl_memory_desc* source, const dnnl_memory_desc* result,
    const dnnl_memory_desc* statistics, float epsilon, unsigned flags,
    const dnnl_primitive_attr*);
int dnnl_pooling_forward_primitive_desc_create(
    dnnl_primitive_desc**, dnnl_engine*, int prop_kind, int algorithm,
    const dnnl_memory_desc* source, const dnnl_memory_desc* result,
    const dnnl_dims_t strides, const dnnl_dims_t kernel,
    const dnnl_dims_t dilation, const dnnl_dims_t padding_before,
    const dnnl_dims_t padding_after, const dnnl_primitive_attr*);
int dnnl_resampling_forward_primitive_desc_create(
    dnnl_primitive_desc**, dnnl_engine*, int prop_kind, int algorithm,
    const float* factors, const dnnl_memory_desc* source,
    const dnnl_memory_desc* result, const dnnl_primitive_attr*);
int dnnl_concat_primitive_desc_create(dnnl_primitive_desc**, dnnl_engine*,
                                      const dnnl_memory_desc* result, int count,
                                      int axis,
                                      const dnnl_memory_desc* const* sources,
                                      const dnnl_primitive_attr*);
int dnnl_binary_primitive_desc_create(dnnl_primitive_desc**, dnnl_engine*,
                                      int algorithm,
                                      const dnnl_memory_desc* first,
                                      const dnnl_memory_desc* second,
                                      const dnnl_memory_desc* result,
                                      const dnnl_primitive_attr*);
int dnnl_eltwise_forward_primitive_desc_create(
    dnnl_primitive_desc**, dnnl_engine*, int prop_kind, int algorithm,
    const dnnl_memory_desc* source, const dnnl_memory_desc* result, float alpha,
    float beta, const dnnl_primitive_attr*);
int dnnl_reorder_primitive_desc_create(dnnl_primitive_desc**,
                                       const dnnl_memory_desc* source,
                                       dnnl_engine* source_engine,
                                       const dnnl_memory_desc* result,
                                       dnnl_engine* result_engine,
                                       const dnnl_primitive_attr*);
const dnnl_memory_desc* dnnl_primitive_desc_query_md(const dnnl_primitive_desc*,
                                                     int what, int index);
int dnnl_primitive_desc_destroy(dnnl_primitive_desc*);
int dnnl_primitive_create(dnnl_primitive**, const dnnl_primitive_desc*);
int dnnl_primitive_execute(const dnnl_primitive*, dnnl_stream*, int count,
                           const dnnl_exec_arg_t*);
int dnnl_primitive_destroy(dnnl_primitive*);

}  // extern "C"

namespace onednn {

constexpr int kMajor = 3;
constexpr int kCpu = 1;            // dnnl_cpu
constexpr int kDefaultStream = 1;  // dnnl_stream_default_flags
constexpr int kForwardInference = 96;
constexpr int kAnyLayout = 1;              // dnnl_format_tag_any
constexpr unsigned kUseScaleAndShift = 6;  // dnnl_use_scale | dnnl_use_shift
constexpr int kQueryWeights = 131;         // dnnl_query_weights_md

enum Type { kBf16 = 2, kF32 = 3, kS32 = 4, kS8 = 5, kU8 = 6 };

enum Argument {
  kSource = 1,
  kSource1 = 2,
  kResult = 17,
  kWeights = 33,
  kBias = 41,
  kScale = 51,
  kShift = 52,
  kManySources = 1024,
  kScales = 4096,
  kZeroPoints = 8192,
  kPostOperation = 32768,  // times one more than its place among them
};

enum Algorithm {
  kConvolution = 1,
  kRelu = 32,
  kSqrt = 37,
  kLinear = 38,
  kHardSigmoid = 40,
  kSigmoid = 41,
  kSwish = 44,
  kGelu = 49,
  kHardSwish = 52,
  kMaximum = 511,
  kMeanWithPadding = 767,
  kMean = 1023,
  kAdd = 131056,
  kMultiply = 131057,
  kNearest = 196592,
};

}  // namespace onednn

#endif  // DEPLOY_AUTO_COMPRESSION_OPS_ONEDNN_API_H_
