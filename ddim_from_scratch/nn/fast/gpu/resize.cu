// Resizing by two, and channels side by side. A thread makes four channels of a pixel; size: how many fours there are.
// H, W: of the smaller picture, C = 4 quads channels.

#include "vector.cu"

__device__ int within(int i, int length) { return min(max(i, 0), length - 1); }

// The mean of each 2 x 2 square.
__global__ void average_pool(const float4* x, float4* y, int W, int quads, int size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, q = i % quads, column = i / quads % W;
    if (i >= size) return;
    const float4* top = x + ((size_t)(i / quads / W) * 4 * W + 2 * column) * quads + q;  // of two rows of 2 W pixels
    const float4* bottom = top + 2 * W * quads;
    y[i] = four(0.25f) * (top[0] + top[quads] + bottom[0] + bottom[quads]);
}

__global__ void average_pool_backward(const float4* dy, float4* dx, int W, int quads, int size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, q = i % quads, column = i / quads % (2 * W);
    if (i >= size) return;
    const size_t row = i / quads / (2 * W);
    dx[i] = four(0.25f) * dy[(row / 2 * W + column / 2) * quads + q];
}

// Bilinear: y[2i] = 3/4 x[i] + 1/4 x[i - 1] and y[2i + 1] = 3/4 x[i] + 1/4 x[i + 1], along both axes, clamped.
__global__ void upsample(const float4* x, float4* y, int H, int W, int quads, int size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, q = i % quads;
    if (i >= size) return;
    const int column = i / quads % (2 * W), row = i / quads / (2 * W) % (2 * H);
    const int rows[2] = {row / 2, within((row - 1) / 2 + row % 2, H)};
    const int columns[2] = {column / 2, within((column - 1) / 2 + column % 2, W)};
    const float4* picture = x + (size_t)(i / quads / (2 * W) / (2 * H)) * H * W * quads + q;
    float4 sum = four(0);
    for (int k = 0; k < 4; k++)
        sum = sum + four((k / 2 ? 0.25f : 0.75f) * (k % 2 ? 0.25f : 0.75f)) *
                        picture[(size_t)(rows[k / 2] * W + columns[k % 2]) * quads];
    y[i] = sum;
}

// Its transpose: x[i] has gone to y[2i - 1 .. 2i + 2] with the weights 1/4, 3/4, 3/4, 1/4.
__global__ void upsample_backward(const float4* dy, float4* dx, int H, int W, int quads, int size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, q = i % quads, column = i / quads % W, row = i / quads / W % H;
    if (i >= size) return;
    const float4* picture = dy + (size_t)(i / quads / W / H) * 4 * H * W * quads + q;
    const float weights[4] = {0.25f, 0.75f, 0.75f, 0.25f};
    float4 sum = four(0);
    for (int a = 0; a < 4; a++)
        for (int b = 0; b < 4; b++)
            sum = sum + four(weights[a] * weights[b]) *
                            picture[(size_t)(within(2 * row + a - 1, 2 * H) * 2 * W + within(2 * column + b - 1, 2 * W)) * quads];
    dx[i] = sum;
}

// The quads [start, start + some) of the pixels of `wide` (pixels, quads) from `narrow` (pixels, some), or back.
__global__ void move_channels(float4* wide, float4* narrow, int quads, int some, int start, int back, int size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    float4* place = wide + (size_t)(i / some) * quads + start + i % some;
    if (back) narrow[i] = *place;
    else *place = narrow[i];
}
