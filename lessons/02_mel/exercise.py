"""Exercises of lesson 02: the log-mel spectrogram, and the way back.

Write the four functions, in this order; the later ones may call the earlier ones. `make check-02` puts each in
the package's place, on its own, shows what it answers beside what is expected, and runs the package's tests on
it. The package's `stft` and `istft` may be imported, from ddim_from_scratch.audio.
"""

import numpy as np


def hz_to_mel(hz):
    """HTK's mel scale, mel = 1127 ln(1 + hz / 700).

    hz: a number or an array. Returns the same of it; 1000 Hz are 1000 mel.

        mel |         . '       nearly straight below 700 Hz, then a logarithm
            |    .'
            | ./
            +------------- hz
    """
    raise NotImplementedError


def mel_matrix(
    n_fft: int = 1024, n_mels: int = 128, sr: int = 16000, f_min_hz: float = 0.0, f_max_hz: float = 8000.0
) -> np.ndarray:
    """M[k, i] = max(0, min((m_k - e_i) / (e_{i+1} - e_i), (e_{i+2} - m_k) / (e_{i+2} - e_{i+1}))).

    m_k is the mel of FFT bin k, whose frequency is k sr / n_fft. The edges e are n_mels + 2 mels at equal
    distances, from f_min_hz to f_max_hz; both ends are included. Hint: m as a column and e as a row make all
    differences at once.

    Returns float64 (n_fft // 2 + 1, n_mels).

          1 |      /\\  /\\                   the triangles i and i + 1: where one falls the other rises,
            |     /  \\/  \\                  and their sum is 1; straight lines over mel, not over Hz
          0 |----/---/\\---\\----- mel
                e_i     e_{i+2}
    """
    raise NotImplementedError


def log_mel(samples: np.ndarray) -> np.ndarray:
    """ln(clip(|STFT(samples)| @ mel_matrix(), 1e-5, 1e8)).

    The STFT has its default lengths (640, 320, 1024). Compute in the precision of `samples`.

    samples: (n,) float32 or float64, 16 kHz.
    Returns float32 (ceil(n / 320), 128); silence is ln(1e-5) = -11.51 everywhere.
    """
    raise NotImplementedError


def plain_griffin_lim(log_mel: np.ndarray, iterations: int = 64, momentum: float = 0.99, rng=0) -> np.ndarray:
    """Sound whose log-mel spectrogram is close to `log_mel`.

    With M the mel matrix, T = exp(log_mel), clipped to 1e-5 .. 1e8, the wanted mel bins, and C the last
    consistent spectrum:

        begin   S = (T @ F) exp(j phase), where F (128, 513) spreads a mel bin over its FFT bins by their
                weights: M with each column divided by its sum, transposed;
                phase = 2 pi np.random.default_rng(rng).random((frames, 513)); C = 0
        repeat  C_new = stft(istft(S))
                S = C_new + momentum (C_new - C)                       keep its phases only, and give it the
                A = |C_new| ((T / max(|C_new| @ M, 1e-5))^1.3 @ R)     magnitudes A: S = A S / max(|S|, 1e-5)
                C = C_new
        end     istft(S)

    where R (128, 513) averages over an FFT bin's mel bins: M with each row divided by its sum, transposed (row 0
    has the sum 0: divide by 1e-9 at least). Both istft take length = frames * 320 and floor = 0.1.

    log_mel: (..., frames, 128), natural logarithms; leading axes are a batch, if there are any, and have all
        the same first phases.
    rng: a seed or a numpy.random.Generator. Returns float32 (..., frames * 320): use float32 and complex64.

          wanted magnitudes  \\      /  spectra of sounds
                              \\<--/                   from one set to the nearest of the other,
                               \\-->                   until they meet
                                \\/
    """
    raise NotImplementedError


EXPERIMENT = """
| spectrogram | mean error in mel bins 0 to 39 | in mel bins 88 to 127 |
|---|---|---|
| of magnitudes | ? | ? |
| of powers, halved | ? | ? |

Where do they differ, and why? ?
Conclusion: ?
"""
