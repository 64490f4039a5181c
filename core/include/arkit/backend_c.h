#ifndef ARKIT_BACKEND_C_H
#define ARKIT_BACKEND_C_H
/*
 * The door of backends: what a library that runs layers on some device and arkit say to each other. Pure C (C11 and any
 * later C++), no LibTorch and no libstdc++ in sight, so that a vendor builds once. Authors of C++ write against
 * <arkit/sdk/backend.h>, which wraps this; docs/PLUGINS.md is the page for them, docs/adr/0033 says why it is C.
 *
 * HOW IT GROWS
 *
 *   MAJOR changes when something that is here changes its meaning or place. Both sides must have the same one: the host
 *   reads the plugin's from its file, refuses another before any code of it runs and names both.
 *   MINOR grows when something is added. Any two minors of one major work together.
 *
 *   1. Every struct begins with struct_size, set by whoever fills it to the sizeof of its own header. A reader looks at
 *      no member that lies behind it (ARKIT_HAS).
 *   2. Members and functions are only ever appended; none is removed, moved or given another meaning. The sizes of 1.0
 *      (the constants ARKIT_..._SIZE_1_0) are the least that is accepted.
 *   3. No struct lies in another one or in an array by value: whoever points to it can go on pointing when it grows.
 *      None ends in padding that the compiler adds, where a new member would be taken for an old one.
 *   4. A member that is absent has the meaning of zero. A function that is absent or null is one the backend does not
 *      have; which ones may be so, each says. Padding and flag bits without a name are zero.
 *   5. Enumerations and flags grow too. Whoever gets a value it does not know says no (ARKIT_UNSUPPORTED, with a reason
 *      that has the number): a backend of today is asked about units of tomorrow and refuses them by itself.
 *   6. Where one side fills a struct that the other one owns, the owner sets struct_size first, and nothing is written
 *      behind it.
 *   7. The plugin asks for the table it was built with: door->host(MAJOR, MINOR). What it gets may be older or newer
 *      than it asked for; it looks at struct_size before it uses what came after 1.0.
 *
 * CHANGES, one line a minor version
 *
 *   1.0  devices, memory and streams, linear layers one by one or several on one input.
 *   1.1  repacked weights as blobs: ArkitPrepare.blob, ArkitSink, ArkitBackend.blob_compatibility and save.
 *   1.2  decoder blocks: ArkitBlock, ArkitUnit.block, ArkitPrepare.norms, ArkitBlockRun, ArkitBackend.run_block; a blob may
 *        be kept where it lies: ArkitPrepare.hold_blob; ARKIT_VERDICT_APPROXIMATE.
 *   1.3  blocks with keys and values in 8 bits: ARKIT_VERDICT_CACHE_INT8; exact products of a backend that otherwise
 *        approximates: ARKIT_VERDICT_EXACT_TOO, ArkitPrepare.flags. A flag of a verdict is set for hosts that know it.
 *
 * WHO OWNS WHAT
 *
 *   What a function is given lives until it returns, unless the function says otherwise: copy what you keep. What a
 *   backend shows (its manifest, its table, devices) lives until close() returns, the manifest as long as the library,
 *   which is never unloaded. Each object has one function that ends it: close, free_memory, destroy_stream, release. An
 *   object is ended once, and after every piece of work that was given it has been synchronized.
 *
 * WHO CALLS WHEN
 *
 *   open() and close() are called once each, by one thread. Every other function may be called by several threads at
 *   once, also with the same prepared unit, but no two calls use one stream at the same time. Functions of the host may
 *   be called by the threads of the backend while a call of the host's runs, and no longer. A backend's own threads are
 *   its own affair; ArkitHost.threads says how many there should be.
 *
 * WHAT FAILS
 *
 *   Functions return a status; where it is not ARKIT_OK they write why into the caller's text. No exception and no
 *   longjmp crosses the door in either direction: whoever writes C++ catches everything.
 *   Work on a stream may fail later; then synchronize() of this stream says so.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ARKIT_BACKEND_MAJOR 1
#define ARKIT_BACKEND_MINOR 3

/* Is `member` of the struct at `pointer` there? */
#define ARKIT_HAS(type, pointer, member) \
  ((pointer)->struct_size >= offsetof(type, member) + sizeof(((type*)NULL)->member))

/* ---- answers ---------------------------------------------------------------------------------------------------- */

/* Not an enum: its size must not be a matter of the compiler. Another value than these means ARKIT_FAILED. */
typedef int32_t ArkitStatus;
#define ARKIT_OK 0
#define ARKIT_FAILED 1      /* the backend's own fault */
#define ARKIT_MISUSED 2     /* the caller's: an argument that this page forbids */
#define ARKIT_BAD_INPUT 3   /* weights that contradict their description */
#define ARKIT_UNSUPPORTED 4 /* an expected no */
#define ARKIT_RESOURCE 5    /* no memory, or the device is busy or gone */
#define ARKIT_STOPPED 6     /* a function of the host did not return ARKIT_OK: hand this on, the host knows why */

/* Where the side that is called puts words: UTF-8, lower case, no full stop, with the offending value in them. What
 * does not fit is cut; what is there ends with a zero. `capacity` is 1 or more. The owner sets the first three members.
 */
typedef struct ArkitText {
  size_t struct_size;
  char* bytes;
  size_t capacity;
  size_t length; /* without the zero; what it would have been, had there been room */
} ArkitText;
#define ARKIT_TEXT_SIZE_1_0 (offsetof(ArkitText, length) + sizeof(size_t))

/* ---- numbers and tensors ---------------------------------------------------------------------------------------- */

typedef int32_t ArkitType;
#define ARKIT_FLOAT32 1
#define ARKIT_BFLOAT16 2
#define ARKIT_FLOAT16 3
#define ARKIT_FLOAT64 4
#define ARKIT_UINT8 5
#define ARKIT_INT8 6
#define ARKIT_INT16 7
#define ARKIT_INT32 8
#define ARKIT_INT64 9
#define ARKIT_BOOL 10
#define ARKIT_FLOAT8_E4M3 11 /* without infinities, as OCP's FP8 and torch.float8_e4m3fn */
#define ARKIT_FLOAT8_E5M2 12
#define ARKIT_FLOAT8_E8M0 13
#define ARKIT_UINT16 14
#define ARKIT_UINT32 15

/* Memory of a device. Only its backend knows what is behind it; neither the pointer nor anything it points to is read
 * or computed with by the host. */
typedef struct ArkitBuffer ArkitBuffer;

/* A dense tensor, the last index fastest. Either `host` is set, memory that this process reads and writes, or `buffer`
 * is, and `offset` in bytes. */
typedef struct ArkitTensor {
  size_t struct_size;
  const int64_t* shape; /* `rank` sizes */
  int32_t rank;
  ArkitType type;
  void* host;
  ArkitBuffer* buffer;
  uint64_t offset;
} ArkitTensor;
#define ARKIT_TENSOR_SIZE_1_0 (offsetof(ArkitTensor, offset) + sizeof(uint64_t))

/* ---- devices ---------------------------------------------------------------------------------------------------- */

#define ARKIT_DEVICE_HOST_MEMORY 1u /* kernels take tensors with `host` set, and buffers are not needed */

typedef struct ArkitDevice {
  size_t struct_size;
  const char* kind;   /* "cpu", "cuda", "hpu" ...: anyone may add one */
  const char* name;   /* for people: "AMD EPYC 9B45", "H200" */
  const char* vendor; /* for people */
  int64_t index;      /* among the devices of its kind, as the vendor's tools count them */
  int64_t memory;     /* bytes; 0 = not known */
  uint64_t capabilities;
  int32_t score; /* what supports() answers for a layer that suits it; 1 or more */
  int32_t padding;
} ArkitDevice;
#define ARKIT_DEVICE_SIZE_1_0 (offsetof(ArkitDevice, padding) + sizeof(int32_t))

typedef struct ArkitStream ArkitStream; /* work in order; null = no stream: the work is done when the call returns */

/* ---- what is to be run ------------------------------------------------------------------------------------------ */

/* TensorQuant of arkit/descriptors.h, which says what the members mean. Null texts mean "". */
typedef struct ArkitQuant {
  size_t struct_size;
  const char* data_type;
  const char* scale_dtype;
  const char* observer;
  int64_t group_size;
  int64_t block_rows;
  int64_t super_group_size;
  int32_t bits; /* 16 or more: not quantized */
  int32_t super_bits;
  int32_t sym;
  int32_t dynamic;
} ArkitQuant;
#define ARKIT_QUANT_SIZE_1_0 (offsetof(ArkitQuant, dynamic) + sizeof(int32_t))

/* y = x W^T + b. */
typedef struct ArkitLinear {
  size_t struct_size;
  const char* name;     /* in the checkpoint: "model.layers.0.self_attn.q_proj" */
  const char* packing;  /* layout of its tensors in the file: "auto_round:auto_gptq" */
  const char* rotation; /* an online rotation of x that the format leaves to the kernel; "" = none */
  const ArkitQuant* weight;
  const ArkitQuant* activation;
  int64_t out_features;
  int64_t in_features;
  int32_t has_bias;
  int32_t padding;
} ArkitLinear;
#define ARKIT_LINEAR_SIZE_1_0 (offsetof(ArkitLinear, padding) + sizeof(int32_t))

/* 1.2. A decoder block of attention and a gated feed-forward network:
 *
 *   n = mixer_in(x)                                       what a norm that is absent leaves as it is
 *   q = rope(query_norm(query(n))), k = rope(key_norm(key(n))), v = value(n)
 *   a = x + residual_scale * mixer_out(output(attention(q, k, v)))
 *   m = feed_forward_in(a)
 *   y = a + residual_scale * feed_forward_out(down(activation(gate(m)) * up(m)))
 *
 * BlockLayout and Norms of arkit/model_layout.h say what the members mean. */
typedef int32_t ArkitRole; /* of a linear of the block; qkv and gate_up give the outputs of two or three one behind the
                              other */
#define ARKIT_ROLE_QUERY 1
#define ARKIT_ROLE_KEY 2
#define ARKIT_ROLE_VALUE 3
#define ARKIT_ROLE_QKV 4
#define ARKIT_ROLE_OUTPUT 5
#define ARKIT_ROLE_GATE 6
#define ARKIT_ROLE_UP 7
#define ARKIT_ROLE_GATE_UP 8
#define ARKIT_ROLE_DOWN 9

#define ARKIT_NORM_MIXER_IN 0 /* places of norms, in ArkitPrepare.norms and as bits of ArkitBlock.norms */
#define ARKIT_NORM_MIXER_OUT 1
#define ARKIT_NORM_FEED_FORWARD_IN 2
#define ARKIT_NORM_FEED_FORWARD_OUT 3
#define ARKIT_NORM_QUERY 4 /* of each head */
#define ARKIT_NORM_KEY 5
#define ARKIT_NORM_COUNT 6

#define ARKIT_BLOCK_ROPE_NEIGHBOURS 1u /* channels 2i and 2i + 1 turn together, else i and i + rope_dim / 2 */

typedef struct ArkitBlock {
  size_t struct_size;
  const char* name;       /* in the checkpoint: "model.layers.0" */
  const char* norm_kind;  /* "rms": (offset + weight) * x / sqrt(mean(x^2) + epsilon) */
  const char* activation; /* "silu", "gelu" ... */
  const ArkitRole* roles; /* of the unit's linears, in their order */
  int64_t hidden_size;
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  int64_t rope_dim; /* channels of a head that turn, the first ones; 0 = none */
  int64_t window;   /* keys a query sees, itself included; 0 = all before it */
  int64_t width;    /* of the feed-forward network */
  double attention_scale;
  double softcap; /* 0 = none */
  double residual_scale;
  double norm_epsilon;
  double norm_offset;
  uint64_t norms; /* bit i: the norm of place i is there */
  uint64_t flags; /* ARKIT_BLOCK_... */
} ArkitBlock;
#define ARKIT_BLOCK_SIZE_1_2 (offsetof(ArkitBlock, flags) + sizeof(uint64_t))

/* What is prepared and run as one. */
typedef int32_t ArkitUnitKind;
#define ARKIT_UNIT_LINEARS 1 /* one layer, or several that are fed the same x (q, k and v; gate and up) */
#define ARKIT_UNIT_BLOCK 2   /* 1.2 */

typedef struct ArkitUnit {
  size_t struct_size;
  ArkitUnitKind kind;
  const ArkitLinear* const* linears;
  size_t linear_count;     /* 1 or more for ARKIT_UNIT_LINEARS; they have the same in_features */
  const ArkitBlock* block; /* 1.2: for ARKIT_UNIT_BLOCK */
} ArkitUnit;
#define ARKIT_UNIT_SIZE_1_0 (offsetof(ArkitUnit, linear_count) + sizeof(size_t))

/* The kernel quantizes its input itself, in its own precision: x comes as it is. Without it the host rounds x to the
 * layer's `activation` before every run. */
#define ARKIT_VERDICT_OWN_ACTIVATIONS 1u
/* 1.2. What run() gives is not the product of x and the weight up to rounding errors of the compute type: the kernel
 * computes with fewer digits of x. Commands that measure leave it out unless it is named. */
#define ARKIT_VERDICT_APPROXIMATE 2u
/* 1.3. With ARKIT_PREPARE_EXACT it computes as if it had set neither of these two. */
#define ARKIT_VERDICT_EXACT_TOO 4u
/* 1.3. Of a block: it also runs on pools of int8, see ArkitBlockRun. */
#define ARKIT_VERDICT_CACHE_INT8 8u

typedef struct ArkitVerdict {
  size_t struct_size;
  uint64_t flags;
  int32_t
      score; /* 1 or more: yes, and the highest wins. torch, which runs everything, says 10. 0 = no, with a reason */
  int32_t padding;
} ArkitVerdict;
#define ARKIT_VERDICT_SIZE_1_0 (offsetof(ArkitVerdict, padding) + sizeof(int32_t))

/* ---- weights ---------------------------------------------------------------------------------------------------- */

typedef struct ArkitHeld ArkitHeld; /* memory of the host that a backend keeps; ArkitHost.release ends it */

/* One layer's weights as they are asked for; nothing is computed before. All tensors are in memory of the host and live
 * until prepare() returns, those of dense() longer if the backend holds them. Tensors need not be aligned to more than
 * their element. A function that fails has told the host why: end with ARKIT_STOPPED. */
typedef struct ArkitWeights {
  size_t struct_size;
  void* self; /* for the functions below */
  /* Names of the tensors in the file, without the layer's: "qweight", "scales", "bias"; `count` of them. */
  const char* const* packed_names;
  size_t packed_count;
  /* One of them. */
  ArkitStatus (*packed)(void* self, const char* name, ArkitTensor* out);
  /* The same numbers in one form for all packings, by name: "codes" [out, in], "scale" and "zero_point" [out, groups]
   * (or as the data type has them), "global_scale", and what else the scheme knows ("act_max" for static activations).
   * QuantizedWeight in arkit/scheme.h says what each means. A name that this weight does not have, such as "zero_point"
   * of symmetric codes, gives rank 0, type 0 and no memory. */
  ArkitStatus (*unpacked)(void* self, const char* name, ArkitTensor* out);
  /* The exact weight [out, in]: ARKIT_FLOAT32, ARKIT_BFLOAT16 or ARKIT_FLOAT16. Computed at each call: ask once. With
   * `held` not null the tensor stays until it is released. */
  ArkitStatus (*dense)(void* self, ArkitType type, ArkitTensor* out, ArkitHeld** held);
} ArkitWeights;
#define ARKIT_WEIGHTS_SIZE_1_0 (offsetof(ArkitWeights, dense) + sizeof(void*))

/* ---- preparing -------------------------------------------------------------------------------------------------- */

typedef struct ArkitPrepared ArkitPrepared; /* a unit made ready; `release` ends it */

#define ARKIT_PREPARE_EXACT 1u /* 1.3. Only where the verdict had ARKIT_VERDICT_EXACT_TOO */

typedef struct ArkitPrepare {
  size_t struct_size;
  const ArkitUnit* unit;              /* supports() said yes to it */
  const ArkitDevice* device;          /* one that devices() gave */
  const ArkitWeights* const* weights; /* one a linear */
  ArkitType compute_type;             /* what the model computes in */
  int32_t padding;
  const void* blob; /* 1.1: what save() wrote for this unit once, under the same compatibility; null = none */
  size_t blob_size; /* 1.1 */
  void* blob_self;  /* 1.2, for hold_blob */
  /* 1.2. Keeps the blob's memory, mostly a mapped file and never to be written to, until it is released. The blob is
   * aligned to 64 bytes. Null = there is no blob, or it has to be copied. */
  ArkitHeld* (*hold_blob)(void* blob_self);
  /* 1.2: for ARKIT_UNIT_BLOCK, ARKIT_NORM_COUNT factors in float32, without norm_offset; null = absent. */
  const ArkitTensor* const* norms;
  uint64_t flags; /* 1.3: ARKIT_PREPARE_... */
} ArkitPrepare;
#define ARKIT_PREPARE_SIZE_1_0 (offsetof(ArkitPrepare, padding) + sizeof(int32_t))

/* Filled by prepare(). */
typedef struct ArkitPreparedInfo {
  size_t struct_size;
  int64_t bytes;    /* memory it holds, wherever */
  ArkitType x_type; /* what run() wants and gives, the one of `compute_type` if it can be; the host converts */
  ArkitType y_type;
} ArkitPreparedInfo;
#define ARKIT_PREPARED_INFO_SIZE_1_0 (offsetof(ArkitPreparedInfo, y_type) + sizeof(ArkitType))

/* 1.1. Takes a blob piece by piece. */
typedef struct ArkitSink {
  size_t struct_size;
  void* self;
  ArkitStatus (*write)(void* self, const void* bytes, size_t count);
} ArkitSink;
#define ARKIT_SINK_SIZE_1_1 (offsetof(ArkitSink, write) + sizeof(void*))

/* ---- running blocks ---------------------------------------------------------------------------------------------- */

/* 1.2. New positions of one sequence behind `past` earlier ones. */
typedef struct ArkitSpan {
  size_t struct_size;
  int64_t past;
  int64_t count;
  const int64_t* pages; /* of the pools: position p lies in page pages[p / page_size] at p % page_size */
} ArkitSpan;
#define ARKIT_SPAN_SIZE_1_2 (offsetof(ArkitSpan, pages) + sizeof(int64_t*))

/* 1.2. Rows of all sequences one behind the other; rows = the sum of the counts. */
typedef struct ArkitBlockRun {
  size_t struct_size;
  const ArkitTensor* x;   /* [rows, hidden_size] in the unit's x_type; the block's output takes its place */
  const ArkitTensor* cos; /* [rows, rope_dim / 2] float32; null where rope_dim is 0 */
  const ArkitTensor* sin;
  /* Pools [pages, kv_heads, page_size, head_dim] of one type: float32 or bfloat16. The keys and values of the new
   * positions are written, those of earlier ones are there. 1.3, after ARKIT_VERDICT_CACHE_INT8: or pools of int8,
   * [pages, kv_heads, page_size, head_dim + 4] with page_size a multiple of 16. What lies where within a head of a page is
   * the backend's affair; the host copies pages as a whole and reads none. */
  const ArkitTensor* keys;
  const ArkitTensor* values;
  const ArkitSpan* const* spans;
  size_t span_count;
} ArkitBlockRun;
#define ARKIT_BLOCK_RUN_SIZE_1_2 (offsetof(ArkitBlockRun, span_count) + sizeof(size_t))

/* ---- the two tables --------------------------------------------------------------------------------------------- */

#define ARKIT_CPU_AVX2 1u
#define ARKIT_CPU_AVX512F 2u
#define ARKIT_CPU_AVX512_VNNI 4u
#define ARKIT_CPU_AVX512_BF16 8u
#define ARKIT_CPU_AMX_BF16 16u
#define ARKIT_CPU_AMX_INT8 32u

/* The host. Lives as long as the process. */
typedef struct ArkitHost {
  size_t struct_size;
  uint32_t major, minor; /* of the host */
  const char* version;   /* of arkit, for people */
  const char* cpu_name;
  uint64_t
      cpu; /* ARKIT_CPU_...: what kernels may use here, which is less than the machine has where the user says so */
  int64_t threads;
  void (*release)(ArkitHeld* held);
  /* Not 0: the user wants to stop. To be asked now and then in what takes seconds; end with ARKIT_STOPPED. */
  int32_t (*interrupted)(void);
} ArkitHost;
#define ARKIT_HOST_SIZE_1_0 (offsetof(ArkitHost, interrupted) + sizeof(void*))

/* The backend, made by open(). `self` is the first argument of every function. */
typedef struct ArkitBackend {
  size_t struct_size;
  void* self;

  /* Ends the backend. Everything that was made by it has been ended. */
  void (*close)(void* self);

  /* What is here: `count` devices, each at the same place while the backend is open. None = `why` says what is missing,
   * and the status is ARKIT_OK: no device is no fault. Quick, and a driver that is not installed is no fault either. */
  ArkitStatus (*devices)(void* self, const ArkitDevice* const** list, size_t* count, ArkitText* why);

  /* Can the unit run there, and how well? A no is a score of 0 with a reason that names the layer. Quick and without
   * side effects: it is asked for every layer before any work. */
  ArkitStatus (*supports)(void* self, const ArkitUnit* unit, const ArkitDevice* device, ArkitVerdict* verdict,
                          ArkitText* why);

  /* Takes, repacks and keeps what running needs: after it returns, the weights are gone. */
  ArkitStatus (*prepare)(void* self, const ArkitPrepare* request, ArkitPrepared** prepared, ArkitPreparedInfo* info,
                         ArkitText* why);
  /* Ends a unit; null is nothing. */
  void (*release)(void* self, ArkitPrepared* prepared);

  /* y[i] = x W[i]^T + b[i], `y_count` being the unit's linears, in their order. x is [rows, in_features] in the unit's
   * x_type, y[i] [rows, out_features of i] in its y_type; rows is 1 or more and may differ from call to call. Where the
   * device has ARKIT_DEVICE_HOST_MEMORY they may be in memory of the host. With a stream the work is only accepted, and
   * its memory stays untouched until the stream is synchronized. */
  ArkitStatus (*run)(void* self, ArkitPrepared* prepared, const ArkitTensor* x, const ArkitTensor* const* y,
                     size_t y_count, ArkitStream* stream, ArkitText* why);

  /* The next seven may be null together when every device has ARKIT_DEVICE_HOST_MEMORY. */

  /* `bytes` (1 or more) of the device's memory, aligned for any kernel, with any contents. */
  ArkitStatus (*allocate_memory)(void* self, const ArkitDevice* device, uint64_t bytes, ArkitBuffer** buffer,
                                 ArkitText* why);
  void (*free_memory)(void* self, ArkitBuffer* buffer);
  /* `bytes` from memory of the host to `offset` of the buffer, and back, in the order of the stream: the host's memory
   * must stay until it is synchronized. */
  ArkitStatus (*copy_in)(void* self, ArkitBuffer* to, uint64_t offset, const void* from, uint64_t bytes,
                         ArkitStream* stream, ArkitText* why);
  ArkitStatus (*copy_out)(void* self, void* to, ArkitBuffer* from, uint64_t offset, uint64_t bytes, ArkitStream* stream,
                          ArkitText* why);
  ArkitStatus (*create_stream)(void* self, const ArkitDevice* device, ArkitStream** stream, ArkitText* why);
  void (*destroy_stream)(void* self, ArkitStream* stream);
  /* Returns when all work of the stream is done. What failed since the last time is told here, once. */
  ArkitStatus (*synchronize)(void* self, ArkitStream* stream, ArkitText* why);

  /* 1.1. These two may be null together: the backend repacks at every start. */

  /* When a blob of this unit on this device may be used again: a text with everything that its layout depends on (the
   * version of the repacking, the kind of device), to be compared byte for byte. Empty = there is nothing to keep. */
  ArkitStatus (*blob_compatibility)(void* self, const ArkitUnit* unit, const ArkitDevice* device, ArkitText* text,
                                    ArkitText* why);
  /* Writes what prepare() can start from instead of the weights. */
  ArkitStatus (*save)(void* self, ArkitPrepared* prepared, const ArkitSink* sink, ArkitText* why);

  /* 1.2. Null: no blocks. Tensors as in run(). A run that fails leaves x and the new positions with any contents. */
  ArkitStatus (*run_block)(void* self, ArkitPrepared* prepared, const ArkitBlockRun* run, ArkitStream* stream,
                           ArkitText* why);
} ArkitBackend;
#define ARKIT_BACKEND_SIZE_1_0 (offsetof(ArkitBackend, synchronize) + sizeof(void*))

/* ---- the door itself -------------------------------------------------------------------------------------------- */

/* What open() is given: the table of the host in the version the plugin was built with (rule 7). Null = the host has
 * nothing of that MAJOR. */
typedef struct ArkitDoor {
  size_t struct_size;
  const ArkitHost* (*host)(uint32_t major, uint32_t minor);
} ArkitDoor;
#define ARKIT_DOOR_SIZE_1_0 (offsetof(ArkitDoor, host) + sizeof(void*))

#define ARKIT_BACKEND_MAGIC 0x43424B41u /* "AKBC", little endian */

/* The one symbol of a backend's library, libarkit_backend_<name>.so: a constant that is read from the file before
 * anything of it runs. Texts have 1 to 256 bytes. */
typedef struct ArkitBackendManifest {
  size_t struct_size;
  uint32_t magic;        /* ARKIT_BACKEND_MAGIC */
  uint32_t major, minor; /* ARKIT_BACKEND_MAJOR and ARKIT_BACKEND_MINOR of the header it was built with */
  uint32_t padding;
  const char* id;      /* "com.example.fast": letters, digits and _ - . */
  const char* version; /* of the plugin */
  const char* vendor;
  const char* license;
  const char* url;
  const char* name;    /* what users type after --backend: letters, digits and _ - . : */
  const char* summary; /* one line */
  /* Called once, before everything else. On ARKIT_OK *backend is set. Quick: devices may be absent. */
  ArkitStatus (*open)(const ArkitDoor* door, const ArkitBackend** backend, ArkitText* why);
} ArkitBackendManifest;
#define ARKIT_BACKEND_MANIFEST_SIZE_1_0 (offsetof(ArkitBackendManifest, open) + sizeof(void*))

#if defined(__GNUC__) || defined(__clang__)
#define ARKIT_BACKEND_EXPORT __attribute__((visibility("default")))
#else
#define ARKIT_BACKEND_EXPORT
#endif

/* To be defined by the plugin. */
extern ARKIT_BACKEND_EXPORT const ArkitBackendManifest arkit_backend_manifest;

#ifdef __cplusplus
}
#endif

#endif /* ARKIT_BACKEND_C_H */
