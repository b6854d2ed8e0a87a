"""How many of the notes a listener hears: onset F1 by a transcriber that was not written or trained here.

The transcriber is basic-pitch (Bittner et al. 2022, "A lightweight instrument-agnostic model for polyphonic note
transcription"), with its defaults; the matching is mir_eval's. It hears real music imperfectly: an F1 means something
beside that of the real recording, and of other notes.
"""

from __future__ import annotations

import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..audio import write_wav
from ..audio.midi import DRUMS, Notes
from ..runtime.errors import UserError, why

Judge = Callable[[np.ndarray], Notes]  # the notes that are heard in samples (n,) at 16 kHz

MODEL = "saved_models/icassp_2022/nmp.onnx"
LOWEST, HIGHEST = 21, 108  # pitches that it knows: the piano's keys
ONSET_SECONDS = 0.05  # the usual tolerance: mir_eval's


def load_judge() -> Judge:
    """basic-pitch's ONNX model. Raises UserError, saying what to install, without it."""
    known = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it names every framework that it could run on
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import basic_pitch
        from basic_pitch.inference import Model, predict

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = Model(Path(basic_pitch.__file__).parent / MODEL)
    except (ImportError, ValueError) as error:  # the latter without onnxruntime
        raise UserError(
            f"the notes that are heard are counted by basic-pitch, which is missing ({why(error)}): "
            "pip install 'ddim_from_scratch[notes]', then pip install --no-deps basic-pitch"
        ) from None
    finally:
        logging.disable(known)

    def judge(samples: np.ndarray) -> Notes:
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
            path = Path(folder) / "clip.wav"
            write_wav(path, samples)
            _, _, heard = predict(path, model)
        return Notes.of(
            [(start, stop, pitch, max(round(127 * float(loud)), 1), 0) for start, stop, pitch, loud, *_ in heard]
        )

    return judge


def onset_f1(heard: Notes, notes: Notes) -> float | None:
    """F1 of the starts that are heard at the right pitch, within 50 ms. None if there are no notes to hear.

    notes: of the clip, times in seconds from its start. Drums, notes that began before, and pitches outside the piano's
    are not counted.
    """
    from mir_eval.transcription import precision_recall_f1_overlap
    from mir_eval.util import midi_to_hz

    right = notes.where(
        (notes.start >= 0) & (notes.program != DRUMS) & (notes.pitch >= LOWEST) & (notes.pitch <= HIGHEST)
    )
    if not len(right.start):
        return None
    if not len(heard.start):
        return 0.0
    both = [(np.stack([one.start, one.stop], axis=1), midi_to_hz(one.pitch)) for one in (right, heard)]
    *_, f1, _ = precision_recall_f1_overlap(*both[0], *both[1], onset_tolerance=ONSET_SECONDS, offset_ratio=None)
    return float(f1)


def mean_f1(judge: Judge, clips: np.ndarray, notes: Sequence[Notes], name: str) -> float:
    """Mean onset F1 of clips (n, samples) at 16 kHz, of those that have notes. name: for the progress bar.

    Raises UserError if none has.
    """
    both = zip(tqdm(clips, desc=f"listening to {name}", unit="clip"), notes, strict=True)
    scores = [f1 for clip, one in both if (f1 := onset_f1(judge(clip), one)) is not None]
    if not scores:
        raise UserError(f"no note begins in any of the {len(clips)} clips: choose a piece with notes")
    return float(np.mean(scores))
