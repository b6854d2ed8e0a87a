// Attention with heads of one dimension, the paper's: o[i] = sum over j of p[i][j] v[j], p[i][j] = e^(q[i] k[j]) / z[i].
//
// The scores are never stored: each thread walks along a row (or, for the gradients of k and v, along a column) of
// the matrix and computes them anew. One block serves THREADS queries (keys) of a head; the keys (queries) pass
// through shared memory. q: (heads, L). k, v: (heads, M). log_z: (heads, L). Grid: (ceil(L or M / THREADS), heads).

const int THREADS = 128;

// o[i], and log_z[i] = ln z[i]. When a larger score comes, the sums so far are scaled down.
__global__ void attend(const float* q, const float* k, const float* v, float* o, float* log_z, int L, int M) {
    __shared__ float ks[THREADS], vs[THREADS];
    const int i = blockIdx.x * THREADS + threadIdx.x;
    k += (size_t)blockIdx.y * M, v += (size_t)blockIdx.y * M;
    const float query = i < L ? q[(size_t)blockIdx.y * L + i] : 0;
    float largest = -3e38f, z = 0, sum = 0;  // e^(score - largest) cannot overflow
    for (int start = 0; start < M; start += THREADS) {
        __syncthreads();
        if (start + threadIdx.x < M) ks[threadIdx.x] = k[start + threadIdx.x], vs[threadIdx.x] = v[start + threadIdx.x];
        __syncthreads();
        const int count = min(THREADS, M - start);
        float before = largest;
        for (int j = 0; j < count; j++) largest = fmaxf(largest, query * ks[j]);
        z *= expf(before - largest), sum *= expf(before - largest);
        for (int j = 0; j < count; j++) {
            float e = expf(query * ks[j] - largest);
            z += e, sum += e * vs[j];
        }
    }
    if (i >= L) return;
    o[(size_t)blockIdx.y * L + i] = sum / z;
    log_z[(size_t)blockIdx.y * L + i] = largest + logf(z);
}

// dq[i] = sum over j of p (do[i] v[j] - c[i]) k[j], with c = do o: softmax's gradient is dp less its mean under p.
__global__ void attend_dq(const float* q, const float* k, const float* v, const float* o, const float* log_z,
                          const float* d_o, float* dq, int L, int M) {
    __shared__ float ks[THREADS], vs[THREADS];
    const int i = blockIdx.x * THREADS + threadIdx.x;
    const size_t at = (size_t)blockIdx.y * L + (i < L ? i : 0);
    k += (size_t)blockIdx.y * M, v += (size_t)blockIdx.y * M;
    const float query = q[at], log = log_z[at], d = d_o[at], c = d * o[at];
    float sum = 0;
    for (int start = 0; start < M; start += THREADS) {
        __syncthreads();
        if (start + threadIdx.x < M) ks[threadIdx.x] = k[start + threadIdx.x], vs[threadIdx.x] = v[start + threadIdx.x];
        __syncthreads();
        for (int j = 0; j < min(THREADS, M - start); j++)
            sum += expf(query * ks[j] - log) * (d * vs[j] - c) * ks[j];
    }
    if (i < L) dq[at] = sum;
}

// dk[j] = sum over i of p (do[i] v[j] - c[i]) q[i] and dv[j] = sum over i of p do[i].
__global__ void attend_dk_dv(const float* q, const float* k, const float* v, const float* o, const float* log_z,
                             const float* d_o, float* dk, float* dv, int L, int M) {
    __shared__ float qs[THREADS], logs[THREADS], ds[THREADS], cs[THREADS];
    const int j = blockIdx.x * THREADS + threadIdx.x;
    const size_t at = (size_t)blockIdx.y * M + (j < M ? j : 0), row = (size_t)blockIdx.y * L;
    const float key = k[at], value = v[at];
    float sum_k = 0, sum_v = 0;
    for (int start = 0; start < L; start += THREADS) {
        __syncthreads();
        if (start + threadIdx.x < L) {
            const size_t i = row + start + threadIdx.x;
            qs[threadIdx.x] = q[i], logs[threadIdx.x] = log_z[i], ds[threadIdx.x] = d_o[i];
            cs[threadIdx.x] = d_o[i] * o[i];
        }
        __syncthreads();
        for (int i = 0; i < min(THREADS, L - start); i++) {
            float p = expf(qs[i] * key - logs[i]);
            sum_k += p * (ds[i] * value - cs[i]) * qs[i], sum_v += p * ds[i];
        }
    }
    if (j < M) dk[at] = sum_k, dv[at] = sum_v;
}
