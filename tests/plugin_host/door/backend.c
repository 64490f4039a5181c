/* A backend in C11, as small as the door allows: the processor, float32, one loop. What it says of its own sizes and
 * versions comes from the variant it is compiled as (CMakeLists.txt of the folder above). */
#include <arkit/backend_c.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a header of tomorrow would have behind the structs of today. */
typedef struct NewBackend {
  ArkitBackend today;
  ArkitStatus (*run_block)(void *self);
} NewBackend;
typedef struct NewDevice {
  ArkitDevice today;
  int64_t numa_node;
} NewDevice;

#if defined(VARIANT_OLD) /* 1.0, which has no blobs */
#define MAJOR 1
#define MINOR 0
#define TABLE_SIZE ARKIT_BACKEND_SIZE_1_0
#elif defined(VARIANT_NEW)
#define MAJOR 1
#define MINOR 9
#define TABLE_SIZE sizeof(NewBackend)
#define DEVICE_SIZE sizeof(NewDevice)
#define MANIFEST_SIZE (sizeof(ArkitBackendManifest) + sizeof(void *))
#elif defined(VARIANT_WRONG_MAJOR)
#define MAJOR 2
#define MINOR 3
#elif defined(VARIANT_SMALL_MANIFEST)
#define MANIFEST_SIZE 40
#elif defined(VARIANT_SMALL_TABLE)
#define TABLE_SIZE (ARKIT_BACKEND_SIZE_1_0 - sizeof(void *))
#elif defined(VARIANT_SMALL_DEVICE)
#define DEVICE_SIZE (ARKIT_DEVICE_SIZE_1_0 - 8)
#elif defined(VARIANT_NO_RUN)
#define NO_RUN 1
#elif defined(VARIANT_NO_MEMORY)
#define CAPABILITIES 0
#elif defined(VARIANT_FLAGS)
#define FLAGS 0x80u
#elif defined(VARIANT_FAILS_TO_OPEN)
#define FAILS_TO_OPEN 1
#elif !defined(VARIANT_PLAIN)
#error "which variant?"
#endif

#ifndef MAJOR
#define MAJOR ARKIT_BACKEND_MAJOR
#define MINOR ARKIT_BACKEND_MINOR
#endif
#ifndef TABLE_SIZE
#define TABLE_SIZE sizeof(ArkitBackend)
#endif
#ifndef DEVICE_SIZE
#define DEVICE_SIZE sizeof(ArkitDevice)
#endif
#ifndef MANIFEST_SIZE
#define MANIFEST_SIZE sizeof(ArkitBackendManifest)
#endif
#ifndef CAPABILITIES
#define CAPABILITIES ARKIT_DEVICE_HOST_MEMORY
#endif
#ifndef FLAGS
#define FLAGS 0
#endif
#ifndef FAILS_TO_OPEN
#define FAILS_TO_OPEN 0
#endif

struct ArkitPrepared {
  int64_t out, in;
  float *weight; /* [out, in], then the bias */
  int has_bias;
};

static ArkitStatus no(ArkitText *why, ArkitStatus status, const char *text) {
  why->length = strlen(text);
  snprintf(why->bytes, why->capacity, "%s", text);
  return status;
}

static void close_backend(void *self) { (void)self; }

static const NewDevice device = {
    {DEVICE_SIZE, "cpu", "one loop", "Example", 0, 0, CAPABILITIES, 3, 0},
    7,
};

static ArkitStatus devices(void *self, const ArkitDevice *const **list, size_t *count, ArkitText *why) {
  static const ArkitDevice *const all[] = {&device.today};
  (void)self;
  (void)why;
  *list = all;
  *count = 1;
  return ARKIT_OK;
}

static ArkitStatus supports(void *self, const ArkitUnit *unit, const ArkitDevice *where, ArkitVerdict *verdict,
                            ArkitText *why) {
  (void)self;
  (void)where;
  if (unit->kind != ARKIT_UNIT_LINEARS || unit->linear_count != 1)
    return no(why, ARKIT_UNSUPPORTED, "only single linear layers");
  if (unit->linears[0]->rotation[0] != 0) {
    char text[200];
    snprintf(text, sizeof(text), "layer '%s' needs a rotation", unit->linears[0]->name);
    verdict->score = 0;
    return no(why, ARKIT_OK, text);
  }
  verdict->score = 3;
  verdict->flags = FLAGS;
  return ARKIT_OK;
}

static void release(void *self, ArkitPrepared *prepared) {
  (void)self;
  if (prepared == NULL) return;
  free(prepared->weight);
  free(prepared);
}

static ArkitStatus prepare(void *self, const ArkitPrepare *request, ArkitPrepared **prepared, ArkitPreparedInfo *info,
                           ArkitText *why) {
  const ArkitLinear *layer = request->unit->linears[0];
  const ArkitWeights *weights = request->weights[0];
  const size_t count = (size_t)layer->out_features * (size_t)layer->in_features;
  ArkitTensor dense = {.struct_size = sizeof(dense)}, bias = {.struct_size = sizeof(bias)};
  ArkitPrepared *made = calloc(1, sizeof(*made));
  if (made == NULL) return no(why, ARKIT_RESOURCE, "there is not enough memory");
  made->out = layer->out_features;
  made->in = layer->in_features;
  made->has_bias = layer->has_bias;
  made->weight = malloc((count + (size_t)layer->out_features) * sizeof(float));
  if (made->weight == NULL || weights->dense(weights->self, ARKIT_FLOAT32, &dense, NULL) != ARKIT_OK ||
      (layer->has_bias && weights->packed(weights->self, "bias", &bias) != ARKIT_OK)) {
    release(self, made);
    return ARKIT_STOPPED;
  }
  if (layer->has_bias && bias.type != ARKIT_FLOAT32) {
    release(self, made);
    return no(why, ARKIT_UNSUPPORTED, "the bias is not float32");
  }
  memcpy(made->weight, dense.host, count * sizeof(float));
  if (layer->has_bias) memcpy(made->weight + count, bias.host, (size_t)layer->out_features * sizeof(float));
  info->bytes = (int64_t)(count * sizeof(float));
  info->x_type = ARKIT_FLOAT32;
  info->y_type = ARKIT_FLOAT32;
  *prepared = made;
  return ARKIT_OK;
}

static ArkitStatus run(void *self, ArkitPrepared *prepared, const ArkitTensor *x, const ArkitTensor *const *y,
                       size_t y_count, ArkitStream *stream, ArkitText *why) {
  const float *input = x->host;
  float *output = y[0]->host;
  (void)self;
  if (y_count != 1 || stream != NULL || input == NULL || output == NULL)
    return no(why, ARKIT_MISUSED, "one input and one output in memory of the host are wanted");
  for (int64_t row = 0; row < x->shape[0]; ++row)
    for (int64_t o = 0; o < prepared->out; ++o) {
      double sum = prepared->has_bias ? prepared->weight[prepared->out * prepared->in + o] : 0.0;
      for (int64_t k = 0; k < prepared->in; ++k)
        sum += (double)input[row * prepared->in + k] * (double)prepared->weight[o * prepared->in + k];
      output[row * prepared->out + o] = (float)sum;
    }
  return ARKIT_OK;
}

static ArkitStatus of_tomorrow(void *self) {
  (void)self;
  abort();
}

static const NewBackend table = {
    {
        .struct_size = TABLE_SIZE,
        .close = close_backend,
        .devices = devices,
        .supports = supports,
        .prepare = prepare,
        .release = release,
#ifndef NO_RUN
        .run = run,
#endif
#ifdef VARIANT_OLD /* behind its end: nobody may look at it */
        .blob_compatibility = (ArkitStatus(*)(void *, const ArkitUnit *, const ArkitDevice *, ArkitText *, ArkitText *))(
            void (*)(void))of_tomorrow,
        .save = (ArkitStatus(*)(void *, ArkitPrepared *, const ArkitSink *, ArkitText *))(void (*)(void))of_tomorrow,
#endif
    },
    of_tomorrow,
};

static ArkitStatus open_backend(const ArkitDoor *door, const ArkitBackend **backend, ArkitText *why) {
  const ArkitHost *host = door->host(MAJOR, MINOR);
  (void)run; /* a variant does not show it */
  if (FAILS_TO_OPEN) return no(why, ARKIT_RESOURCE, "the licence server is not there");
  if (host == NULL || door->host(MAJOR + 1, 0) != NULL) return no(why, ARKIT_FAILED, "a wrong host answered");
  if (host->struct_size < ARKIT_HOST_SIZE_1_0 || host->major != MAJOR)
    return no(why, ARKIT_FAILED, "the host's table is too small");
  *backend = &table.today;
  return ARKIT_OK;
}

#define TEXT_OF_(x) #x
#define TEXT_OF(x) TEXT_OF_(x)
ARKIT_BACKEND_EXPORT const ArkitBackendManifest arkit_backend_manifest = {
    .struct_size = MANIFEST_SIZE,
    .magic = ARKIT_BACKEND_MAGIC,
    .major = MAJOR,
    .minor = MINOR,
    .id = "org.example.door",
    .version = "1." TEXT_OF(MINOR),
    .vendor = "Example",
    .license = "Apache-2.0",
    .url = "https://example.org",
    .name = "door",
    .summary = "one loop",
    .open = open_backend,
};
