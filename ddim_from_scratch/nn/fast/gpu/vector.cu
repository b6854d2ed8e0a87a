// Four neighbouring channels at a time: one access of 16 bytes.

__device__ float4 four(float v) { return make_float4(v, v, v, v); }
__device__ float4 operator+(float4 a, float4 b) { return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w); }
__device__ float4 operator-(float4 a, float4 b) { return make_float4(a.x - b.x, a.y - b.y, a.z - b.z, a.w - b.w); }
__device__ float4 operator*(float4 a, float4 b) { return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w); }

// row[c .. c + 3] of a row of `size` numbers; zeros beyond them.
__device__ float4 read4(const float* row, int c, int size) {
    if (size % 4 == 0) return c < size ? *(const float4*)(row + c) : four(0);
    return make_float4(c < size ? row[c] : 0, c + 1 < size ? row[c + 1] : 0, c + 2 < size ? row[c + 2] : 0,
                       c + 3 < size ? row[c + 3] : 0);
}

__device__ void write4(float* row, int c, int size, float4 v) {
    const float numbers[4] = {v.x, v.y, v.z, v.w};
    if (size % 4 == 0 && c < size) *(float4*)(row + c) = v;
    for (int i = 0; size % 4 && i < 4; i++)
        if (c + i < size) row[c + i] = numbers[i];
}
