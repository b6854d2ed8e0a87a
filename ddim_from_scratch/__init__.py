"""Music from noise, every line of the arithmetic in front of you.

    recordings --audio.log_mel--> (frames, 128) --data--> windows --train--> unet --sample--> log-mel
                                                                                      --audio.inverter--> sound

audio       sound files, STFT, mel filter bank, inverters (GAN, Griffin-Lim), the embedded music
nn          layers with their backward passes
unet        the network that predicts the noise
diffusion   schedules, the forward process, samplers
optim       AdamW and the moving average of the weights
fad         the Frechet audio distance: embeddings by pretrained listeners, the distance, how far to trust it
model       a configuration's network and schedule, and what it draws
train sample fad tune experiments  the commands: python -m ddim_from_scratch.NAME --help
compose                            music that goes on: longer than a window, from a recording, between two
steps table table_report           how few steps it takes; the paper's table
datasets data                      recordings, cut in windows
checkpoint guards memory pictures  the files of a run, what keeps it alive, what it will need, images
backend tree config hub mpi        what all of them stand on
"""

__version__ = "0.1.0"
