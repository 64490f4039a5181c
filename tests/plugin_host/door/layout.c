/* What has been published stays where it is (rule 2 of arkit/backend_c.h). These numbers are changed by no minor version;
 * one that appends adds lines. C11, all warnings are errors. */
#include <arkit/backend_c.h>

#define AT(type, member, offset) \
  _Static_assert(offsetof(type, member) == (offset), #type "." #member " has moved")
#define SIZE(type, size) _Static_assert(sizeof(type) == (size), #type " ends elsewhere")
#define LEAST(name, size) _Static_assert((name) == (size), #name " has changed")

_Static_assert(ARKIT_BACKEND_MAJOR == 1 && ARKIT_BACKEND_MINOR == 3, "a new version needs new lines here");

AT(ArkitText, bytes, 8); AT(ArkitText, length, 24); SIZE(ArkitText, 32); LEAST(ARKIT_TEXT_SIZE_1_0, 32);
AT(ArkitTensor, shape, 8); AT(ArkitTensor, rank, 16); AT(ArkitTensor, type, 20); AT(ArkitTensor, host, 24);
AT(ArkitTensor, buffer, 32); AT(ArkitTensor, offset, 40); SIZE(ArkitTensor, 48); LEAST(ARKIT_TENSOR_SIZE_1_0, 48);
AT(ArkitDevice, kind, 8); AT(ArkitDevice, vendor, 24); AT(ArkitDevice, index, 32); AT(ArkitDevice, capabilities, 48);
AT(ArkitDevice, score, 56); SIZE(ArkitDevice, 64); LEAST(ARKIT_DEVICE_SIZE_1_0, 64);
AT(ArkitQuant, data_type, 8); AT(ArkitQuant, group_size, 32); AT(ArkitQuant, bits, 56); AT(ArkitQuant, dynamic, 68);
SIZE(ArkitQuant, 72); LEAST(ARKIT_QUANT_SIZE_1_0, 72);
AT(ArkitLinear, name, 8); AT(ArkitLinear, rotation, 24); AT(ArkitLinear, weight, 32); AT(ArkitLinear, out_features, 48);
AT(ArkitLinear, has_bias, 64); SIZE(ArkitLinear, 72); LEAST(ARKIT_LINEAR_SIZE_1_0, 72);
AT(ArkitUnit, kind, 8); AT(ArkitUnit, linears, 16); AT(ArkitUnit, block, 32); SIZE(ArkitUnit, 40); LEAST(ARKIT_UNIT_SIZE_1_0, 32);
AT(ArkitVerdict, flags, 8); AT(ArkitVerdict, score, 16); SIZE(ArkitVerdict, 24); LEAST(ARKIT_VERDICT_SIZE_1_0, 24);
AT(ArkitWeights, self, 8); AT(ArkitWeights, packed, 32); AT(ArkitWeights, dense, 48); SIZE(ArkitWeights, 56);
LEAST(ARKIT_WEIGHTS_SIZE_1_0, 56);
AT(ArkitPrepare, unit, 8); AT(ArkitPrepare, weights, 24); AT(ArkitPrepare, compute_type, 32); AT(ArkitPrepare, blob, 40);
AT(ArkitPrepare, blob_self, 56); AT(ArkitPrepare, hold_blob, 64); AT(ArkitPrepare, norms, 72);
AT(ArkitPrepare, flags, 80); SIZE(ArkitPrepare, 88);
LEAST(ARKIT_PREPARE_SIZE_1_0, 40);
AT(ArkitPreparedInfo, bytes, 8); AT(ArkitPreparedInfo, y_type, 20); SIZE(ArkitPreparedInfo, 24);
LEAST(ARKIT_PREPARED_INFO_SIZE_1_0, 24);
AT(ArkitSink, self, 8); AT(ArkitSink, write, 16); SIZE(ArkitSink, 24); LEAST(ARKIT_SINK_SIZE_1_1, 24);
AT(ArkitHost, major, 8); AT(ArkitHost, version, 16); AT(ArkitHost, cpu, 32); AT(ArkitHost, threads, 40);
AT(ArkitHost, release, 48); AT(ArkitHost, interrupted, 56); SIZE(ArkitHost, 64); LEAST(ARKIT_HOST_SIZE_1_0, 64);
AT(ArkitBackend, self, 8); AT(ArkitBackend, close, 16); AT(ArkitBackend, devices, 24); AT(ArkitBackend, supports, 32);
AT(ArkitBackend, prepare, 40); AT(ArkitBackend, release, 48); AT(ArkitBackend, run, 56);
AT(ArkitBackend, allocate_memory, 64); AT(ArkitBackend, free_memory, 72); AT(ArkitBackend, copy_in, 80);
AT(ArkitBackend, copy_out, 88); AT(ArkitBackend, create_stream, 96); AT(ArkitBackend, destroy_stream, 104);
AT(ArkitBackend, synchronize, 112); AT(ArkitBackend, blob_compatibility, 120); AT(ArkitBackend, save, 128);
AT(ArkitBackend, run_block, 136); SIZE(ArkitBackend, 144); LEAST(ARKIT_BACKEND_SIZE_1_0, 120);
AT(ArkitBlock, name, 8); AT(ArkitBlock, roles, 32); AT(ArkitBlock, hidden_size, 40); AT(ArkitBlock, width, 88);
AT(ArkitBlock, attention_scale, 96); AT(ArkitBlock, norm_offset, 128); AT(ArkitBlock, flags, 144); SIZE(ArkitBlock, 152);
LEAST(ARKIT_BLOCK_SIZE_1_2, 152);
AT(ArkitSpan, past, 8); AT(ArkitSpan, pages, 24); SIZE(ArkitSpan, 32); LEAST(ARKIT_SPAN_SIZE_1_2, 32);
AT(ArkitBlockRun, x, 8); AT(ArkitBlockRun, keys, 32); AT(ArkitBlockRun, span_count, 56); SIZE(ArkitBlockRun, 64);
LEAST(ARKIT_BLOCK_RUN_SIZE_1_2, 64);
AT(ArkitDoor, host, 8); SIZE(ArkitDoor, 16); LEAST(ARKIT_DOOR_SIZE_1_0, 16);
AT(ArkitBackendManifest, magic, 8); AT(ArkitBackendManifest, major, 12); AT(ArkitBackendManifest, minor, 16);
AT(ArkitBackendManifest, id, 24); AT(ArkitBackendManifest, url, 56); AT(ArkitBackendManifest, name, 64);
AT(ArkitBackendManifest, open, 80); SIZE(ArkitBackendManifest, 88); LEAST(ARKIT_BACKEND_MANIFEST_SIZE_1_0, 88);
