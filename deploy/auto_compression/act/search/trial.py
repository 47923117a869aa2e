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
"""Whether a plan does what it should: the check of each probe of a search, and
what is known of the model beside.

A plan is tried on a few images. Its detections are compared with those of the
unoptimized program: IR passes and oneDNN off, and of a quantized model its
simulation, so that what is left out is Paddle's doing, not quantization's.
"""

import math
import statistics
from dataclasses import asdict, dataclass, replace
from typing import Any, Dict, Iterator, List, Optional, Sequence

from .. import accuracy, config, data, int8_check, latency, request, runtime
from ..errors import UserError
from ..plan import Plan
from ..program import faster
from ..program.model import Model, ModelFiles
from . import probe
from .journal import NAME as JOURNAL
from .journal import Journal

ACCURACY, SPEED = 'accuracy', 'speed'
CRITERIA = (ACCURACY, SPEED)
TIMED_RUNS = 30  # of a plan, in a probe of speed
# Agreement AP in percent that a plan that works has at least. Eight images,
# AVX512-VNNI: int8 of three detectors against its simulation 97.6 and more, of
# PicoDet-XS quantized whole 95.8; int8 that was wrong 0 to 88.
MIN_AGREEMENT = {'fp32': 99.0, 'fp16': 97.0, 'bf16': 97.0, 'int8': 94.0}


@dataclass(frozen=True)
class Options:
    """What a search was asked for."""
    precision: str = 'auto'
    device: str = 'CPU'
    use_mkldnn: Optional[bool] = None
    use_trt: bool = False
    threads: Optional[int] = None
    batch_size: int = 1
    rewrites: Sequence[str] = faster.ALL  # that may be applied, on the CPU
    criterion: str = ACCURACY
    num_images: int = 8
    min_agreement: Optional[float] = None  # percent; None: MIN_AGREEMENT
    min_speedup: float = 1.05
    as_saved: bool = False  # as Paddle alone would run it
    confirm_images: int = 100
    fresh: bool = False
    output_dir: str = 'output/search'
    output_json: Optional[str] = None

    @property
    def asked(self) -> request.Options:
        """What runs, in a request's words."""
        return request.Options(device=self.device,
                               precision=self.precision,
                               use_mkldnn=self.use_mkldnn,
                               use_trt=self.use_trt,
                               threads=self.threads,
                               batch_size=self.batch_size,
                               rewrites=self.rewrites)


@dataclass(frozen=True)
class Tried:
    """What one probe found.

    end: probe.RAN, or why it has no result.
    agreement: AP in percent with the unoptimized program; None without result.
    ms: median latency, an image.
    speedup: of the plan against that with all items in, interleaved; None where
        speed is not what is looked for.
    seconds: that the probe took.
    """
    end: str
    seconds: float
    agreement: Optional[float] = None
    ms: Optional[float] = None
    speedup: Optional[float] = None

    @property
    def ran(self) -> bool:
        return self.end == probe.RAN


@dataclass(frozen=True)
class Criterion:
    """When a plan is good."""
    name: str
    min_agreement: float
    min_speedup: float

    def good(self, tried: Tried) -> bool:
        """Whether it ran, agrees, and is as fast as was asked for."""
        if tried.agreement is None or tried.agreement < self.min_agreement:
            return False
        return self.name == ACCURACY or (tried.speedup or 0) >= self.min_speedup

    def figure(self, tried: Tried) -> str:
        """What decided, for people."""
        if tried.agreement is None:
            return tried.end
        said = '%.1f' % tried.agreement
        if tried.speedup is not None:
            said = 'x%.3f, %s' % (tried.speedup, said)
        return said


def criterion(options: Options, precision: str) -> Criterion:
    """The criterion of a precision that runs."""
    least = options.min_agreement
    if least is None:
        least = MIN_AGREEMENT.get(precision, MIN_AGREEMENT['fp32'])
    return Criterion(options.criterion, least, options.min_speedup)


def reference(settings: config.Settings, model_dir: str,
              options: Options) -> Plan:
    """The plan of the unoptimized program, on the CPU."""
    made = request.plan_of(settings,
                           model_dir,
                           request.Options(precision='fp32',
                                           use_mkldnn=False,
                                           threads=options.threads,
                                           batch_size=options.batch_size),
                           prepare=False)
    return replace(made, optimize=False, deleted_passes=[])


class Bench:
    """Runs plans on the model's validation images, each in a process of its
    own, and remembers what came out."""

    def __init__(self, settings: config.Settings, model_dir: str,
                 everything: Plan, options: Options, task: str) -> None:
        """
        Args:
            settings: the model's configuration.
            model_dir: the model.
            everything: the plan with all items in.
            options: see Options.
            task: what the journal is of, with all that its sets depend on.
        """
        self.settings = settings
        self.options = options
        self.everything = everything
        self.unoptimized = reference(settings, model_dir, options)
        self.criterion = criterion(options, everything.precision)
        self._reader = data.open_reader(settings.Reader)
        self.images = self._reader.val()
        self._chosen = list(self._batches(options.num_images))
        self.journal = Journal('%s/%s' % (options.output_dir, JOURNAL),
                               self._holds_for(model_dir, task), options.fresh)
        known = self.journal.ask('reference', self._reference)
        if 'end' in known:
            raise UserError("'%s' does not run without optimisation, so that "
                            'there is nothing to compare with: %s' %
                            (model_dir, known['end']))
        self._expected = probe.from_json(known['detections'])
        self._seconds = known['seconds']

    def _holds_for(self, model_dir: str, task: str) -> Dict[str, Any]:
        options, made = self.options, self.everything
        named = ModelFiles.named(self.settings.Global, model_dir)
        environment = runtime.environment()
        plain = replace(made, files=named, postprocess=None, tensorrt=None)
        return {
            'task': task,
            'model': named.digest(),
            'plan': {
                **asdict(plain), 'quantized': dict(made.quantized),
                'tensorrt': made.tensorrt and made.tensorrt.key
            },
            'settings': config.dump(self.settings),
            'images': options.num_images,
            'criterion': options.criterion,
            'machine': {
                key: environment.get(key)
                for key in ('paddle', 'cpu', 'cpu_extensions', 'gpu')
            },
        }

    def _batches(self, count: Optional[int]) -> Iterator[probe.Images]:
        """The first validation images."""
        inputs = Model.load(self.everything.files).inputs()
        for records in data.chunks(
                self.images.take(count).records, self.options.batch_size):
            batch = self._reader.pipeline(records)
            rest = {k: v for k, v in batch.items() if k != 'image'}
            yield probe.Images(
                tuple(r.id for r in records),
                data.feed(batch, inputs, self.settings.Global.input_mapping,
                          self.settings.path), rest)

    def _reference(self) -> Dict[str, Any]:
        done = probe.run([self.unoptimized], self._chosen)
        if not done.ran:
            return {'end': done.end}
        # Refused at once, if there is nothing to agree with.
        accuracy.agreement_ap(done.detections, done.detections)
        return {
            'detections': probe.as_json(done.detections),
            'seconds': done.seconds
        }

    def try_(self, out: Sequence[str], made: Plan) -> Tried:
        """The result of the plan without some items, from the journal if it is
        there."""
        rounds = 1
        plans = [made]
        if self.options.criterion == SPEED:
            plans.append(self.everything)
            rounds = math.ceil(TIMED_RUNS / len(self._chosen))
        return self._tried(['probe', sorted(out)], plans, rounds)

    def again(self, out: Sequence[str], made: Plan) -> Tried:
        """The same with thrice the runs: of many probes of speed one may be
        good by chance."""
        rounds = math.ceil(3 * TIMED_RUNS / len(self._chosen))
        return self._tried(['again', sorted(out)], [made, self.everything],
                           rounds)

    def _tried(self, key: Any, plans: Sequence[Plan], rounds: int) -> Tried:
        found = self.journal.ask(key,
                                 lambda: asdict(self._probe(plans, rounds)))
        return Tried(**found)

    def _probe(self, plans: Sequence[Plan], rounds: int) -> Tried:
        # What takes five times as long as the slowest that is known hangs.
        done = probe.run(plans,
                         self._chosen,
                         rounds=rounds,
                         limit=60 + 5 * rounds * len(plans) * self._seconds)
        if not done.ran:
            return Tried(done.end, done.seconds)
        try:
            agreement = accuracy.agreement_ap(self._expected, done.detections)
        except UserError as error:  # these detections make no sense
            return Tried(str(error), done.seconds)
        speedup = None
        if len(plans) > 1:
            ratios = [b / a for a, b in zip(*done.ms)]
            speedup = statistics.median(
                ratios[min(len(ratios) // 2, latency.WARMUP):])
        return Tried(probe.RAN, done.seconds, 100 * (agreement.map or 0.0),
                     latency.summarize(done.ms[0]).p50, speedup)

    def confirm(self, key: Sequence[str],
                forms: Dict[str, Plan]) -> List[Dict[str, Any]]:
        """Accuracy of some plans against the annotations, on more images.

        Args:
            key: the set that is taken out, for the journal.
            forms: {name: plan}.

        Returns:
            a row of evidence.TABLES['confirmed'] for each; the unoptimized
            program first.
        """
        return self.journal.ask([
            'confirm',
            sorted(key),
            sorted(forms), self.options.confirm_images
        ], lambda: self._confirm({
            'unoptimized': self.unoptimized,
            **forms
        }))

    def _confirm(self, forms: Dict[str, Plan]) -> List[Dict[str, Any]]:
        images = self.images.take(self.options.confirm_images)
        rows: List[Dict[str, Any]] = []
        first: List[accuracy.Detections] = []
        for name, made in forms.items():
            done = probe.run([made], self._batches(len(images.records)))
            row: Dict[str, Any] = dict(form=name,
                                       images=len(images.records),
                                       end=done.end,
                                       **dict.fromkeys(
                                           ('map', 'map_difference', 'low',
                                            'high', 'agreement_ap', 'ms')),
                                       **self._layers(made))
            rows.append(row)
            if not done.ran:
                continue
            found = list(done.detections)
            first = first or found
            row.update(ms=latency.summarize(done.ms[0]).p50)
            try:
                against = accuracy.figures(first, found, images)
                row.update(map=against.map,
                           map_difference=against.difference,
                           low=against.low,
                           high=against.high,
                           agreement_ap=against.agreement)
            except UserError as error:  # these detections make no sense
                row.update(end=str(error))
        return rows

    def _layers(self, made: Plan) -> Dict[str, Optional[int]]:
        """Layers that ran in int8, and convolutions that did not; None where
        that is not asked, or the run failed."""
        nothing = dict(int8_layers=None, fp32_convs=None)
        if made.device == 'GPU' or made.precision != 'int8':
            return nothing
        try:
            count = int8_check.run(made, self._chosen[0].feed)
        except UserError:
            return nothing
        return dict(int8_layers=count.int8 + count.linear_int8,
                    fp32_convs=count.fp32)
