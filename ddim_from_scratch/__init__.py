"""Music from noise, every line of the arithmetic in front of you.

    recordings --audio.log_mel--> (frames, 128) --spectrogram.data--> windows --train--> unet --sample--> log-mel
                                      --audio.inverter--> sound

runtime      arrays on either device, threads, trees, files, errors, the command line, processes
nn           layers with their backward passes; nn.fast has those that have to be fast
diffusion    schedules, the forward process, the objective, samplers
networks     the U-Net and other denoisers, written on any namespace of layers
audio        sound files, STFT, mel filter bank, inverters (GAN, Griffin-Lim), the embedded music
fad          the Frechet audio distance: embeddings by pretrained listeners, the distance, how far to trust it
training     the loop, AdamW and the moving average of the weights, options, data sets, checkpoints, guards
spectrogram  the paper's system: recordings in windows, the network, what it draws, music that goes on
notes        the same, told what to play: recordings with their notes, the piano roll, tokens, soundfonts, the judge
experiments  compare, ceiling, steps, film, the paper's table, ablation, tuning, pictures
systems      the systems that train and sample know; a run opened in Python
train sample fad tune experiments  the commands: python -m ddim_from_scratch.NAME --help
"""

from .systems import open_run, train_run

__all__ = ["open_run", "train_run"]
__version__ = "0.1.0"
