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
"""diagnose.py search: chooses what of a quantized model stays in float.

fp32, bf16 and all int8 are measured as they are deployed here (`measured`): so
it is known what layers in float may cost. On training images the simulation
says which to take, by agreement gained for a millisecond lost (`front`). A few
of the models on that way are made and measured, too, and one is taken
(`choice`). It is made for good, and judged on validation images.
"""

import os
import tempfile
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Tuple

from tqdm import tqdm

from .. import accuracy, config, data, inference, results, runtime
from ..compress import job
from ..errors import CheckFailed, UserError
from ..files import file_digest, replace_directory, work_directory, writing
from ..plan import Plan
from ..predictor import Predictor
from ..profile import profiled
from ..program import cpu, faster
from ..program.inspect import quantized_ops
from ..program.model import Model, ModelFiles
from ..request import Options as Request
from ..request import plan_of
from . import agreement, choice, cut, front, measured, surrogate
from .journal import NAME as JOURNAL
from .journal import Journal
from .simulation import Simulation, load_quantized

RECORD, PICTURE = 'search.json', 'search.png'
# Gains in agreement AP up to this are chance.
LEAST = 0.05
# Models on the way that are measured, beside all int8.
MEASURED = 6
PROFILE_RUNS = 20
# mAP in percent below which a float model finds nothing.
FINDS = 0.5


@dataclass(frozen=True)
class Options:
    """What diagnose.py search was asked for."""
    max_drop: float = 0.3  # points of mAP
    min_gain: Optional[float] = None  # latency of fp32 / that of the model
    score_images: int = 32  # of the simulation
    select_images: int = 100  # of what is measured
    confirm_images: Optional[int] = None
    threads: Optional[int] = None
    refine: bool = False
    fresh: bool = False
    skip_bad_images: bool = False
    save_dir: str = 'output/search_model'
    output_dir: str = 'output/search'
    output_json: Optional[str] = None


@dataclass
class Found:
    """What a search found, for the record, the picture and the words."""
    layers: Sequence[Any] = ()
    costs: Dict[str, Tuple[float, str]] = field(default_factory=dict)
    gains: Dict[str, float] = field(default_factory=dict)  # of those that fit
    steps: List[front.Step] = field(default_factory=list)
    candidates: List[choice.Candidate] = field(default_factory=list)
    chosen: Optional[choice.Candidate] = None
    evaluations: int = 0
    confirmed: List[Dict[str, Any]] = field(default_factory=list)
    directory: str = ''  # of the chosen model

    @property
    def whole(self) -> choice.Candidate:
        """All int8."""
        return next(c for c in self.candidates if c.name == 'int8')


class Search:
    """One search, step by step; each step goes into the journal."""

    def __init__(self, settings: config.Settings, model_dir: str,
                 options: Options) -> None:
        self.settings, self.options = settings, options
        self.model_dir = model_dir
        self.files = ModelFiles.named(settings.Global, model_dir).check()
        load_quantized(self.files)  # before all else: it may be float
        self.trained = settings.Quantization.strategy == 'qat'
        float_dir = settings.Global.model_dir
        if not os.path.isdir(float_dir):
            raise UserError(
                "float model '%s' (%s: Global.model_dir) does not exist; "
                'export it again: %s' %
                (float_dir, settings.path, ModelFiles(float_dir).remedy()))
        self.source = ModelFiles.named(settings.Global, float_dir).check()
        self.reader = data.open_reader(settings.Reader, options.skip_bad_images)
        self.threads = options.threads or settings.Deploy.cpu.threads or \
            runtime.cpu_count()
        self.plain = plan_of(settings, float_dir,
                             Request(precision='fp32', threads=self.threads))
        self.simulation = Simulation(self.files,
                                     None if self.trained else self.source)
        self.names = self.simulation.weights
        count = max(options.score_images, options.select_images)
        records = agreement.training_images(settings, self.reader, count)
        train = self.reader.train()
        self.select = train.only(
            [r.id for r in records[:options.select_images]])
        self.score = records[:options.score_images]
        self.journal = Journal(
            os.path.join(options.output_dir, JOURNAL), {
                'the model': self.files.digest(),
                'the float model': self.source.digest(),
                'the reader file': file_digest(self.reader.file),
                'the annotation file': file_digest(*train.annotation_files),
                'the images to score on': [r.id for r in self.score],
                'the images to select on': [r.id for r in self.select.records],
                'the CPU': runtime.cpu_name(),
                'its extensions': runtime.cpu_extensions(),
                'the number of threads': self.threads,
                'Deploy.cpu': settings.Deploy.cpu.model_dump(mode='json'),
                'paddle': runtime.environment()['paddle'],
                'how programs are prepared': cpu.VERSION,
            }, options.fresh)
        self.found = Found(layers=self.simulation.layers)
        self.bench = measured.Bench(settings, self.plain, self.select,
                                    self.reader)

    def costs(self) -> None:
        """What each layer costs in float, in ms: from profiles of both models,
        in proportion, such that all of them cost what fp32 does."""

        def profile() -> Dict[str, Tuple[float, str]]:
            # Operators that hold a whole network have no layers to name.
            rewrites = [n for n in faster.ALL if n not in faster.TYPED]
            plans = [
                plan_of(
                    self.settings, directory,
                    Request(precision=precision,
                            threads=self.threads,
                            rewrites=rewrites))
                for directory, precision in ((self.source.directory, 'fp32'),
                                             (self.model_dir, 'int8'))
            ]
            batch = self.reader.pipeline(self.select.records[:1])
            feeds = [
                data.feed(batch,
                          Model.load(p.files).inputs(),
                          self.settings.Global.input_mapping,
                          self.settings.path) for p in plans
            ]
            profiles, _ = profiled.profile(
                [self.source.directory, self.model_dir], plans, feeds,
                PROFILE_RUNS)
            return surrogate.costs(profiles[0], profiles[1],
                                   self.simulation.layers)

        found = self.journal.ask('costs', profile)
        int8 = self.found.whole
        more = int8.latency_ms * (1 / int8.ratio - 1)
        total = sum(c for c, _ in found.values())
        scale = more / total if more > 0 else 1.
        self.found.costs = {n: (c * scale, by) for n, (c, by) in found.items()}

    def room(self) -> float:
        """Milliseconds that layers in float may cost: with more, a model is
        slower than fp32 or bf16, or than was asked."""
        int8 = self.found.whole
        limit = min(c.ratio for c in self.found.candidates if c is not int8)
        if self.options.min_gain:
            limit = min(limit, 1 / self.options.min_gain)
        more = limit * (1 + choice.NOISE) / int8.ratio - 1
        return max(more, 0.) * int8.latency_ms

    def rank(self) -> None:
        """The way from all int8 to what gains no more, or has no room."""
        judge = agreement.Judge(
            self.simulation,
            agreement.prepare(self.settings, self.reader, self.score,
                              self.simulation.inputs), self.plain.postprocess)
        values: Dict[front.Floats, float] = {}
        cost = {n: c for n, (c, _) in self.found.costs.items()}
        room = self.room()
        fit = [n for n in self.names if cost[n] <= room]
        with tqdm(total=len(fit) + 1, desc='search', unit='choice') as bar:

            def value(floats: front.Floats) -> float:
                quantized = [n for n in self.names if n not in floats]
                values[floats] = self.journal.ask(
                    ['agreement', sorted(floats)],
                    lambda: judge.agreement(quantized))
                # How many more is not known.
                bar.total = max(bar.total, len(values))
                bar.update()
                return values[floats]

            steps = list(
                front.greedy(self.names, cost, value, least=LEAST, most=room))
        self.found.steps = steps
        self.found.evaluations = len(values)
        self.found.gains = {
            n: values[frozenset([n])] - steps[0].value
            for n in fit
        }

    def measure_whole(self) -> None:
        """fp32, bf16 and all int8, as deployed."""
        self._measure('fp32', 'fp32', (), None)
        if self.found.candidates[0].map < FINDS:
            raise UserError(
                "'%s' has %.2f mAP on %d images of '%s': nothing to choose by; "
                'they do not belong together, or the model is not trained' %
                (self.source.directory, self.found.candidates[0].map,
                 len(self.select.records), self.select.annotation_path))
        if measured.bf16_here():
            self._measure('bf16', 'bf16', (), self.source.directory)
        self._measure('int8', 'int8', (), self.model_dir)

    def measure_mixed(self) -> None:
        """Some models on the way, as deployed."""
        with tempfile.TemporaryDirectory(prefix='act_search_') as work:
            for step in _spread(front.pareto(self.found.steps)[1:]):
                if len(step.floats) < len(self.names):
                    directory = os.path.join(work, str(len(step.floats)))
                    self._cut(step.floats, directory)
                    self._measure('int8, %d in float' % len(step.floats),
                                  'int8', step.floats, directory)

    def _measure(self, name: str, precision: str, floats: Sequence[str],
                 directory: Optional[str]) -> None:
        """Add a candidate; `directory` None: the float model in fp32."""

        def run() -> Dict[str, Any]:
            made = None
            if directory:
                made = measured.deployed(self.settings, directory, precision,
                                         self.threads)
            return asdict(self.bench.measure(name, made))

        found = measured.Measured(**self.journal.ask(
            ['measured', precision, sorted(floats)], run))
        others = self.found.candidates
        base = others[0].map if others else found.map
        others.append(
            choice.Candidate(name, precision, tuple(sorted(floats)), found.map,
                             found.agreement, base - found.map, found.ratio,
                             found.latency_ms, found.cpu_ms))

    def _cut(self, floats: Sequence[str], directory: str) -> None:
        model = Model.load(self.files)
        cut.to_float(model, floats,
                     None if self.trained else Model.load(self.source),
                     self.model_dir)
        model.save(ModelFiles.named(self.settings.Global, directory))

    def make(self, command: List[str]) -> str:
        """The chosen model, for good. Returns its directory."""
        chosen, refine = self.found.chosen, self.options.refine
        save_dir = self.options.save_dir
        if chosen.precision != 'int8':
            return self.source.directory
        if not chosen.floats and not refine:
            return self.model_dir
        settings = self.settings.model_copy(deep=True)
        settings.QuantAware.float_weights = sorted(
            {*settings.QuantAware.float_weights, *chosen.floats})
        if refine:
            settings.Quantization.strategy = 'qat'
        with writing("--save_dir '%s'" % save_dir), \
                work_directory(save_dir, '.search_') as work:
            made = os.path.join(work, 'model')
            self._cut(chosen.floats, made)
            files = ModelFiles.named(settings.Global, made)
            settings = measured.fitting(settings, files)
            if self.trained and not refine:
                self._keep(settings, files, command)
                return save_dir
            job.compress(settings, save_dir, command)
            if not refine:
                self._compare(files)
        return save_dir

    def _keep(self, settings: config.Settings, files: ModelFiles,
              command: List[str]) -> None:
        """Make a result directory of a cut model."""
        job.write_surroundings(settings, self.source.directory,
                               self.reader.file, files.directory)
        record = results.new_record('diagnose.py', command)
        record.update(runtime.environment())
        record.update(model_name=settings.name,
                      model_dir=self.options.save_dir,
                      model_hash=files.digest(),
                      config=settings.path,
                      reference_model_dir=self.source.directory,
                      strategy=settings.Quantization.strategy,
                      quantized_ops=len(quantized_ops(Model.load(files))),
                      device='CPU',
                      model_size_mb=files.size_mb(),
                      size_ratio=files.size_mb() / self.source.size_mb())
        results.write_json(record, os.path.join(files.directory, job.RECORD))
        replace_directory(files.directory, self.options.save_dir)

    def _compare(self, cut_files: ModelFiles) -> None:
        """Say so if calibration made another model than was measured."""
        made = ModelFiles.named(self.settings.Global, self.options.save_dir)
        found = cut.different(Model.load(cut_files), Model.load(made))
        if found:
            print('warning: %d layers, as %s, are not as in the model that was '
                  "chosen: '%s' was made with other settings, images or "
                  'versions. What follows is measured on the new one' %
                  (len(found), found[0], self.model_dir))

    def confirm(self) -> None:
        """The chosen model, all int8 and fp32 on validation images, in turn."""
        chosen = self.found.chosen
        images = self.reader.val().take(self.options.confirm_images)
        plans: List[Tuple[str, Plan]] = [('fp32', self.plain)]
        plans.append(('int8',
                      measured.deployed(self.settings, self.model_dir, 'int8',
                                        self.threads)))
        if chosen.name not in ('fp32', 'int8') or self.options.refine:
            plans.append((chosen.name,
                          measured.deployed(self.settings, self.found.directory,
                                            chosen.precision, self.threads)))
        where = dict(input_list=self.settings.Global.input_mapping,
                     where=self.settings.path)
        predictors = [Predictor(p) for _, p in plans]
        passes = inference.run(predictors,
                               self.reader.pipeline,
                               images.records,
                               title='confirm',
                               bad=self.reader.bad,
                               **where)
        speeds = inference.benchmark(predictors,
                                     self.reader.pipeline(images.records[:1]),
                                     runs=measured.RUNS,
                                     **where)
        images = images.only(d.image_id for d in passes[0].detections)
        rows = []
        for (name, _), done, speed in zip(plans, passes, speeds):
            against = accuracy.figures(passes[0].detections, done.detections,
                                       images)
            rows.append({
                'model': name,
                'images': len(images.records),
                'map': against.map,
                'map_difference': against.difference,
                'map_difference_low': against.low,
                'map_difference_high': against.high,
                'agreement_ap': against.agreement,
                'latency_ms': speed.p50,
                'cpu_ms': speed.cpu_ms,
                'latency_ratio': speed.p50 / speeds[0].p50
            })
        self.found.confirmed = rows


def _spread(steps: Sequence[front.Step]) -> List[front.Step]:
    """At most MEASURED of the steps, evenly, the last one among them."""
    if len(steps) <= MEASURED:
        return list(steps)
    count = len(steps) - 1
    return [steps[round(i * count / (MEASURED - 1))] for i in range(MEASURED)]


def search(settings: config.Settings, model_dir: str, options: Options,
           command: List[str]) -> Dict[str, Any]:
    """Choose what stays in float, and make that model.

    Args:
        settings: the model's configuration.
        model_dir: a quantized model.
        options: see Options.
        command: as the user gave it, for the records.

    Returns:
        the record, which is also written, with a picture.

    Raises:
        UserError: bad input.
        CheckFailed: nothing holds what was asked; the record is written.
    """
    from . import search_chart, search_record
    start = time.perf_counter()
    if options.refine and settings.TrainConfig is None:
        raise UserError('--refine: %s has no TrainConfig section' %
                        settings.path)
    job.check_target(options.save_dir)
    one = Search(settings, model_dir, options)
    found = one.found
    one.measure_whole()
    one.costs()
    one.rank()
    one.measure_mixed()
    found.chosen = choice.choose(found.candidates, options.max_drop,
                                 options.min_gain)
    if found.chosen:
        print('chosen: %s' % found.chosen.name, flush=True)
        found.directory = one.make(command)
        one.confirm()
    record = search_record.make(one, options, command,
                                time.perf_counter() - start)
    path = options.output_json or os.path.join(options.output_dir, RECORD)
    picture = os.path.join(options.output_dir, PICTURE)
    search_chart.draw(
        picture, found, options.max_drop, options.min_gain,
        '%s: chosen on %d training images, %d thread%s' %
        (settings.model_name, len(
            one.select.records), one.threads, '' if one.threads == 1 else 's'))
    results.write(record, path)
    print(search_record.tables(record))
    print('\npicture: %s\nrecord: %s' % (picture, path))
    if not found.chosen:
        raise CheckFailed(record['conclusion'])
    return record
