# Copyright (c) 2026 PaddlePaddle Authors. All Rights Reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The versions of Paddle that this works with, and what differs between them:
one table.

With 2.6.2 everything works: it is the last version on which PaddleSlim 2.6.0
runs, and models are made with it. With 3.3.1 they are evaluated and diagnosed,
on the CPU. What differs there is a field of its row, so that no other module
asks for a version.

A .pdmodel runs in 3.3.1 as what it is, a program of the older form: through the
same passes, of which some have other names, not through those of Paddle 3's own
programs (PIR, saved as .json). The types of operators that oneDNN's passes are
told of have kept their names.
"""

from dataclasses import dataclass, field
from typing import Mapping, Tuple


@dataclass(frozen=True)
class Paddle:
    """A version, and in what it is not as 2.6.2.

    Attributes:
        version: of paddlepaddle.
        whole: whether models are made with it, and run on GPUs; if not, they
            run on the CPU only.
        environment: variables that must be set before it is imported.
        libraries: of its wheel, that operators in C++ are linked with too.
        passes: {name of an IR pass in 2.6.2: its name here}, those renamed.
    """
    version: str
    whole: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    libraries: Tuple[str, ...] = ()
    passes: Mapping[str, str] = field(default_factory=dict)

    def pass_name(self, name: str) -> str:
        """The name here of an IR pass, given by that of 2.6.2 or by that."""
        return self.passes.get(name, name)


PADDLE = '2.6.2'
TABLE: Mapping[str, Paddle] = {
    row.version: row
    for row in (
        Paddle(PADDLE, whole=True),
        Paddle(
            '3.3.1',
            # Without it a .pdmodel is taken for a program of Paddle 3: its
            # parameters are not found ("does not hold the parameters"), and
            # rewrites have no operators to edit.
            environment={'FLAGS_enable_pir_api': '0'},
            # What was in libpaddle.so ("undefined reference to
            # paddle::experimental::empty").
            libraries=('libphi.so', 'libphi_core.so'),
            passes={
                'compute_propagate_scales_mkldnn_pass':
                'compute_propagate_scales_onednn_pass',
                'conv_activation_mkldnn_fuse_pass':
                'conv_activation_onednn_fuse_pass',
                'conv_affine_channel_mkldnn_fuse_pass':
                'conv_affine_channel_onednn_fuse_pass',
                'conv_bias_mkldnn_fuse_pass':
                'conv_bias_onednn_fuse_pass',
                'conv_elementwise_add_mkldnn_fuse_pass':
                'conv_elementwise_add_onednn_fuse_pass',
                'conv_transpose_bias_mkldnn_fuse_pass':
                'conv_transpose_bias_onednn_fuse_pass',
                'depthwise_conv_mkldnn_pass':
                'depthwise_conv_onednn_pass',
                'fc_act_mkldnn_fuse_pass':
                'fc_act_onednn_fuse_pass',
                'fc_mkldnn_pass':
                'fc_onednn_pass',
                'matmul_activation_mkldnn_fuse_pass':
                'matmul_activation_onednn_fuse_pass',
                'matmul_elementwise_add_mkldnn_fuse_pass':
                'matmul_elementwise_add_onednn_fuse_pass',
                'matmul_transpose_reshape_mkldnn_fuse_pass':
                'matmul_transpose_reshape_onednn_fuse_pass',
                'mkldnn_placement_pass':
                'onednn_placement_pass',
                'quant_dequant_mkldnn_pass':
                'quant_dequant_onednn_pass',
                'reshape_transpose_matmul_mkldnn_fuse_pass':
                'reshape_transpose_matmul_onednn_fuse_pass',
                'shuffle_channel_mkldnn_detect_pass':
                'shuffle_channel_onednn_detect_pass',
            }),
    )
}
