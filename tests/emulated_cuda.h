// A block of CUDA threads on one processor: every thread is a coroutine that runs until it waits for others.
// It replaces tensor_core.cu; everything else that the kernels use of CUDA C++ is here.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ucontext.h>
#include <utility>
#include <vector>
using std::max; using std::min;

struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
static float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
struct dim3 { unsigned x = 1, y = 1, z = 1; };
#define EMULATED
#define __global__
#define __device__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define __expf expf
#define __logf logf

struct Barrier { unsigned arrived = 0, turn = 0; };
struct Thread { ucontext_t context; dim3 index; unsigned rank; bool done; std::vector<char> stack; };
struct Fragments { float a[32][4], b[32][2]; };
static std::vector<Thread> threads;
static Thread* current;
static ucontext_t scheduler;
static dim3 blockIdx, blockDim, gridDim;
#define threadIdx (current->index)
static Barrier of_block, of_warp[32];
static Fragments fragments[32];
static float4 shared[1 << 14];

static void wait_for(Barrier& barrier, unsigned count) {
    unsigned turn = barrier.turn;
    if (++barrier.arrived == count) { barrier.arrived = 0; barrier.turn++; return; }
    while (barrier.turn == turn) swapcontext(&current->context, &scheduler);
}
static void __syncthreads() { wait_for(of_block, threads.size()); }

// D[i][j] += sum of A[i][k] B[k][j], of operands with 10 bits of fraction; the fragments as PTX lays them out.
static float cut(float x) { uint32_t u; memcpy(&u, &x, 4); u &= 0xffffe000u; memcpy(&x, &u, 4); return x; }
static float tf32(float x) { uint32_t u; memcpy(&u, &x, 4); u += 0x1000u; memcpy(&x, &u, 4); return cut(x); }
static void tensor_core(float (&d)[4], const float (&a)[4], const float (&b)[2]) {
    unsigned warp = current->rank / 32, lane = current->rank % 32, g = lane / 4, t = lane % 4;
    Fragments& f = fragments[warp];
    memcpy(f.a[lane], a, sizeof a); memcpy(f.b[lane], b, sizeof b);
    wait_for(of_warp[warp], 32);
    for (int i = 0; i < 4; i++) {
        unsigned row = g + i / 2 * 8, column = 2 * t + i % 2;
        double sum = d[i];
        for (unsigned k = 0; k < 8; k++)
            sum += (double)cut(f.a[row % 8 * 4 + k % 4][row / 8 + k / 4 * 2]) * cut(f.b[column * 4 + k % 4][k / 4]);
        d[i] = sum;
    }
    wait_for(of_warp[warp], 32);
}

template <class... A> struct Launch {
    static inline void (*kernel)(A...);
    static inline void** values;
    template <size_t... I> static void call(std::index_sequence<I...>) { kernel(*(A*)values[I]...); }
    static void thread() { call(std::index_sequence_for<A...>()); current->done = true; swapcontext(&current->context, &scheduler); }
};

template <class... A> void launch(void (*kernel)(A...), const unsigned* grid, const unsigned* block, void** values) {
    Launch<A...>::kernel = kernel; Launch<A...>::values = values;
    gridDim = {grid[0], grid[1], grid[2]}; blockDim = {block[0], block[1], block[2]};
    threads.resize(block[0] * block[1] * block[2]);
    for (blockIdx.z = 0; blockIdx.z < grid[2]; blockIdx.z++)
    for (blockIdx.y = 0; blockIdx.y < grid[1]; blockIdx.y++)
    for (blockIdx.x = 0; blockIdx.x < grid[0]; blockIdx.x++) {
        memset(shared, 0xff, sizeof shared);  // NaN
        unsigned rank = 0;
        for (Thread& thread : threads) {
            thread.rank = rank; thread.done = false; thread.stack.resize(1 << 16);
            thread.index = {rank % block[0], rank / block[0] % block[1], rank / block[0] / block[1]}; rank++;
            getcontext(&thread.context);
            thread.context.uc_stack.ss_sp = thread.stack.data(); thread.context.uc_stack.ss_size = thread.stack.size();
            thread.context.uc_link = &scheduler;
            makecontext(&thread.context, Launch<A...>::thread, 0);
        }
        for (bool busy = true; busy;) {
            busy = false;
            for (Thread& thread : threads)
                if (!thread.done) { current = &thread; busy = true; swapcontext(&scheduler, &thread.context); }
        }
    }
}
