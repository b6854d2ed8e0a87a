"""What the exercises of lesson 15 are held to, and the mistakes that are known."""

import numpy as np

from ddim_from_scratch.audio.midi import DRUMS, Notes
from ddim_from_scratch.diffusion import gaussian_eps_model, linear_schedule
from ddim_from_scratch.nn import attention_backward
from ddim_from_scratch.notes.tokens import END, FIRST
from lessons.tool.check import Exercise

TOKENS, LAYERS = "tests/notes/test_tokens.py::", "tests/nn/test_layers.py::"
NOTES = Notes.of([(0.1, 0.3, 60, 80, 24), (0.3, 0.5, 64, 80, 24), (0.3, 2.0, 67, 80, 24)])
TWO = Notes.of([(0.1, 0.3, 60, 80, 24), (0.3, 0.5, 64, 80, 0)])
TIED = Notes.of([(-1, 0.5, 60, 80, 24), (0.5, 9, 64, 80, 24), (-0.2, 0.9, 62, 80, 0), (0, 0.4, 65, 80, 0)])
DRUMMED = Notes.of([(0.1, 0.2, 60, 80, 24), (0.3, 0.3, 36, 80, DRUMS), (0.4, 0.6, 60, 80, 24)])
EDGES = Notes.of([(-0.2, 0.3, 36, 80, DRUMS), (0.2, 1.0, 60, 80, 24)])
REPEATED = Notes.of(
    [(0.1, 0.5, 60, 80, 24), (0.5, 0.9, 60, 80, 24), (0.5, 0.5001, 50, 80, 24), (0.501, 0.504, 50, 80, 24)]
)


def sentence(
    notes,
    seconds,
    ties=True,
    tie=True,
    differences=False,
    repeats=(),
    last=True,
    order=lambda event: event,
    rate=100,
    drum="drum",
    stops=True,
    stop_at_end=False,
    drums_tied=False,
):
    """`encode` with one thing or another done wrong."""
    end, tied, events = round(rate * seconds), [], []
    rows = [
        (round(rate * a), max(round(rate * b), round(rate * a) + 1), *rest) for a, b, *rest in zip(*notes, strict=True)
    ]
    for start, stop, pitch, _, program in zip(*Notes.of(rows), strict=True):
        if start < 0 < stop and (program != DRUMS or drums_tied):
            tied.append((program, pitch))
        if 0 <= start < end:
            events.append((start, 1, program, pitch))
        if 0 < stop < end + stop_at_end and program != DRUMS and stops:
            events.append((stop, 0, program, pitch))
    words = (
        [word for program, pitch in sorted(tied) for word in (("program", program), ("pitch", pitch))] if ties else []
    )
    words += [("tie", 0)] if tie else []
    before = 0
    for time, on, program, pitch in sorted(events, key=order):
        words += [("time", time - before if differences else time)]
        words += [("velocity", on), (drum, pitch)] if program == DRUMS else []
        words += [("program", program), ("velocity", on), ("pitch", pitch)] if program != DRUMS else []
        before = time
    tokens, said = [], {}
    for kind, value in words:
        if kind in ("pitch", "tie", "drum", *repeats) or said.get(kind) != value:
            tokens.append(FIRST[kind] + int(value))
        said[kind] = value
    return np.array(tokens + [END] * last, np.int32)


Q, K, V = np.random.default_rng(0).standard_normal((3, 2, 2, 3, 2))[:, :, :, :2]
Q, K, V = (a.reshape(2, -1, 2) for a in (Q, K, V))
Q, K, V = Q[:, :2], K[:, :3], V[:, :3]
MASK = np.array([[True, False, True], [False, False, True]])
HIDDEN = np.array([[True, False, True], [False, False, False]])
LOUD = K * np.array([1, 1e4, 1])[:, None]  # the hidden key would win


def looks(
    q, k, v, mask=None, scale=None, axis=2, hide=lambda s, m: np.where(m, s, -1e9), weigh=lambda p, m: p * m, flip=False
):
    """`attention` with one thing or another done wrong."""
    q = q / (q.shape[2] ** 0.5 if scale is None else scale)
    scores = q @ k.swapaxes(1, 2)
    m = np.ones(scores.shape, bool) if mask is None else np.broadcast_to((mask ^ flip)[:, None], scores.shape)
    scores = hide(scores, m)
    p = np.exp(scores - scores.max(axis=axis, keepdims=True))
    p = weigh(p / p.sum(axis=axis, keepdims=True), m)
    return p @ v, (q, k, v, p)


def gradients(attention):
    """dq, dk, dv side by side, from the cache that the forward pass has left."""
    return np.concatenate(attention_backward(Q + 1, attention(Q, K, V, HIDDEN)[1]), axis=1)


PAST = [np.arange(1.0, 1 + n)[:, None] + np.arange(128) / 1000 for n in (6, 3, 1, 0)]


def channel(pick, place=lambda row, past: row.__setitem__(slice(len(past)), past)):
    """`context_channel` that picks other frames, or puts them elsewhere."""

    def mistaken(before, frames):
        found = np.zeros((len(before), frames, 128, 1), np.float32)
        for row, past in zip(found[..., 0], before, strict=True):
            if len(past):
                place(row, pick(past, frames))
        return found

    return mistaken


def at_the_end(row, past):
    row[len(row) - len(past) :] = past


def held(row, past):
    row[:] = past[-1]
    row[: len(past)] = past


ALPHA_BAR = linear_schedule(1000)
POINTS = np.array([-1.0, 0.0, 2.0])


def models():
    return gaussian_eps_model(0.7, 0.5, ALPHA_BAR), gaussian_eps_model(-0.2, 1.0, ALPHA_BAR)


def asked_for_nothing(guided):
    """How often the model without the condition is asked at weight 1, and the answer."""
    asked = []
    told, untold = models()

    def counting(x, t):
        asked.append(t)
        return untold(x, t)

    answer = guided(told, counting, 1)(POINTS, 300)
    return np.array([len(asked), *answer])


def mix(of):
    """`guided` by another formula of told's and untold's answer and the weight."""

    def guided(told, untold, weight):
        return lambda x, t: of(told(x, t), untold(x, t), weight)

    return guided


EXERCISES = [
    Exercise(
        "ddim_from_scratch.notes.tokens.encode",
        tests=(
            TOKENS + "test_a_sentence_as_the_paper_has_it",
            TOKENS + "test_notes_come_back_from_their_tokens",
            TOKENS + "test_more_notes_than_fit_are_explained",
        ),
        examples={
            "encode(three notes, 1 s)": lambda encode: encode(NOTES, 1.0),
            "encode(two notes of two programs, 1 s)": lambda encode: encode(TWO, 1.0),
            "encode(two of four notes from before, 1 s)": lambda encode: encode(TIED, 1.0),
            "encode(a drum between two notes, 1 s)": lambda encode: encode(DRUMMED, 1.0),
            "encode(a drum from before, and a note that stops at 1 s, 1 s)": lambda encode: encode(EDGES, 1.0),
            "encode(a note struck again, and a very short one, 1 s)": lambda encode: encode(REPEATED, 1.0),
        },
        mistakes={
            "ties are forgotten: say the notes that sound from before, in front of tie": (
                lambda notes, seconds: sentence(notes, seconds, ties=False)
            ),
            "tie is missing: it ends the list of ties even where that is empty": (
                lambda notes, seconds: sentence(notes, seconds, tie=False)
            ),
            "times are differences: say the time from the segment's start": (
                lambda notes, seconds: sentence(notes, seconds, differences=True)
            ),
            "times are said again at each event: leave out what repeats": (
                lambda notes, seconds: sentence(notes, seconds, repeats=("time",))
            ),
            "program and velocity are said again at each event: leave out what repeats": (
                lambda notes, seconds: sentence(notes, seconds, repeats=("program", "velocity"))
            ),
            "END is missing": lambda notes, seconds: sentence(notes, seconds, last=False),
            "at one time, notes begin before others end: off comes first": (
                lambda notes, seconds: sentence(notes, seconds, order=lambda e: (e[0], -e[1], *e[2:]))
            ),
            "at one time, the programs are in order first: off before on, then the programs": (
                lambda notes, seconds: sentence(notes, seconds, order=lambda e: (e[0], e[2], e[1], e[3]))
            ),
            "times are in frames: count hundredths of a second": lambda notes, seconds: sentence(
                notes, seconds, rate=50
            ),
            "times are in milliseconds: count hundredths of a second": (
                lambda notes, seconds: sentence(notes, seconds, rate=1000)
            ),
            "notes have no end: say off where they stop": lambda notes, seconds: sentence(notes, seconds, stops=False),
            "a stop at the segment's end is said: leave it out": (
                lambda notes, seconds: sentence(notes, seconds, stop_at_end=True)
            ),
            "a drum from before is tied: drums never are": (
                lambda notes, seconds: sentence(notes, seconds, drums_tied=True)
            ),
            "a drum is said as a pitch: it has words of its own": (
                lambda notes, seconds: sentence(notes, seconds, drum="pitch")
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.nn.attend.attention",
        tests=(
            LAYERS + "test_a_hidden_key_is_as_good_as_absent_and_nothing_to_look_at_gives_zero[plain]",
            LAYERS + "test_gradients_match_finite_differences[plain-attention]",
            LAYERS + "test_gradients_match_finite_differences[plain-attention, masked]",
            LAYERS + "test_precision_and_arguments_are_kept[plain-attention, masked]",
        ),
        examples={
            "attention(q (2, 2, 2), k, v (2, 3, 2))": lambda attention: attention(Q, K, V)[0],
            "... of one sample, the second key hidden": lambda attention: attention(Q[:1], K[:1], V[:1], MASK[:1])[0],
            "... where the hidden key has a large score": lambda attention: attention(Q[:1], LOUD[:1], V[:1], MASK[:1])[
                0
            ],
            "... where the second sample has nothing to look at": lambda attention: attention(Q, K, V, HIDDEN)[0],
            "the gradients that follow from its cache": gradients,
            "... in float32": lambda attention: attention(*(a.astype("f") for a in (Q, K, V)), MASK)[0],
        },
        mistakes={
            "the mask is left out": lambda q, k, v, mask=None: looks(q, k, v),
            "the mask is upside down: True is a key that may be looked at": (
                lambda q, k, v, mask=None: looks(q, k, v, mask, flip=True)
            ),
            "a hidden key has the score 0, and exp(0) is 1: give it one far below all": (
                lambda q, k, v, mask=None: looks(q, k, v, mask, hide=lambda s, m: s * m, weigh=lambda p, m: p)
            ),
            "weights are hidden after the softmax: those that are left must add up to 1": (
                lambda q, k, v, mask=None: looks(q, k, v, mask, hide=lambda s, m: s)
            ),
            "where all keys are hidden, the mean of all values comes out: multiply the weights by the mask": (
                lambda q, k, v, mask=None: looks(q, k, v, mask, weigh=lambda p, m: p)
            ),
            "where all keys are hidden, 0 / 0 comes out: hide by a large negative score, and multiply by the mask": (
                lambda q, k, v, mask=None: looks(q, k, v, mask, hide=lambda s, m: np.where(m, s, -np.inf))
            ),
            "the scores are not divided by sqrt(D)": lambda q, k, v, mask=None: looks(q, k, v, mask, scale=1),
            "the scores are divided by D: by its root": lambda q, k, v, mask=None: looks(
                q, k, v, mask, scale=q.shape[2]
            ),
            "the softmax runs over the queries: over the keys, the last axis": (
                lambda q, k, v, mask=None: looks(q, k, v, mask, axis=1)
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.spectrogram.model.context_channel",
        tests=("tests/spectrogram/test_compose.py::test_a_context_is_what_came_before_the_piece_backwards",),
        examples={
            "context_channel of 6, 3, 1 and 0 frames numbered from 1, frames = 4: bin 0": (
                lambda context_channel: context_channel(PAST, 4)[:, :, 0, 0]
            ),
            "... all of it": lambda context_channel: context_channel(PAST, 4),
        },
        mistakes={
            "the frames run forwards: the last one comes first": channel(lambda past, frames: past[-frames:]),
            "these are the first frames of what came before: take the last": channel(
                lambda past, frames: past[:frames][::-1]
            ),
            "these are the first frames of what came before, and they run forwards": channel(
                lambda past, frames: past[:frames]
            ),
            "the last frame is left out: it lies beside the seam": channel(
                lambda past, frames: past[:-1][::-1][:frames]
            ),
            "what is missing is missing at the start: the last frame is frame 0, zeros come after": channel(
                lambda past, frames: past[::-1][:frames], at_the_end
            ),
            "what is missing repeats the first frame: leave it 0": channel(
                lambda past, frames: past[::-1][:frames], held
            ),
            "mel bins run backwards, too: turn the first axis only": channel(
                lambda past, frames: past[::-1, ::-1][:frames]
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.diffusion.guidance.guided",
        tests=(
            "tests/diffusion/test_guidance.py::test_guidance_moves_the_mean_of_a_gaussian_in_proportion",
            "tests/diffusion/test_guidance.py::test_weight_1_is_the_model_itself_and_asks_no_other",
        ),
        examples={
            "guided(told, untold, 2)(x, 300)": lambda guided: guided(*models(), 2)(POINTS, 300),
            "... with weight 0.5": lambda guided: guided(*models(), 0.5)(POINTS, 300),
            "how often untold is asked at weight 1, and the answer": asked_for_nothing,
        },
        mistakes={
            "the sign is wrong: go from untold towards told": mix(lambda told, untold, w: untold - w * (told - untold)),
            "told and untold are exchanged": mix(lambda told, untold, w: told + w * (untold - told)),
            "this is the paper's w, which is weight - 1: start at untold, not at told": mix(
                lambda told, untold, w: told + w * (told - untold)
            ),
            "the weight is not used": lambda told, untold, weight: told,
            "this is told, scaled: only its difference from untold is": (
                lambda told, untold, weight: lambda x, t: weight * told(x, t)
            ),
            "untold is missing: add the scaled difference to it": mix(lambda told, untold, w: w * (told - untold)),
            "this is the mean of the two, whatever the weight": mix(lambda told, untold, w: (told + untold) / 2),
            "at weight 1 untold is asked for nothing: return told": mix(
                lambda told, untold, w: untold + w * (told - untold)
            ),
        },
    ),
]
