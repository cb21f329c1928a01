/* Asks a SavedModel by TensorFlow's C API alone: no Python, and the loader and session that TensorFlow Serving uses.
 *
 *   ask_saved_model DIR [--library FILE.so]... --input TENSOR=STRING [--input ...] --output TENSOR [--output ...]
 *
 * An input given several times is a batch. Libraries register the ops of tensorflow-text. Each answer of the first
 * output, which must be strings, is printed as its length in bytes, a newline, the bytes and a newline; the other
 * outputs are computed and must not fail. Exits with 1 and one line on stderr when something is wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

#define MAX_TENSORS 16
#define MAX_ROWS 64

typedef struct {
  const char* tensor; /* "operation:index", not terminated */
  size_t tensor_size;
  const char* rows[MAX_ROWS];
  int64_t row_count;
} Input;

static void fail(const char* what, const char* why) {
  fprintf(stderr, "error: %s: %s\n", what, why);
  exit(1);
}

static void check(const TF_Status* status, const char* what) {
  if (TF_GetCode(status) != TF_OK) fail(what, TF_Message(status));
}

static TF_Output find(TF_Graph* graph, const char* tensor, size_t size) {
  char name[512];
  if (size >= sizeof name) fail("tensor", "its name is too long");
  memcpy(name, tensor, size);
  name[size] = '\0';
  char* colon = strrchr(name, ':');
  if (colon == NULL) fail(name, "must be OPERATION:INDEX");
  *colon = '\0';
  TF_Output output = {TF_GraphOperationByName(graph, name), atoi(colon + 1)};
  if (output.oper == NULL) fail(name, "no such operation");
  return output;
}

static void free_strings(void* data, size_t size, void* argument) {
  (void)argument;
  TF_TString* strings = data;
  for (size_t i = 0; i < size / sizeof *strings; ++i) TF_StringDealloc(&strings[i]);
  free(strings);
}

static TF_Tensor* string_tensor(const Input* input) {
  size_t size = (size_t)input->row_count * sizeof(TF_TString);
  TF_TString* strings = malloc(size);
  if (strings == NULL) fail("input", "out of memory");
  for (int64_t row = 0; row < input->row_count; ++row) {
    TF_StringInit(&strings[row]);
    TF_StringCopy(&strings[row], input->rows[row], strlen(input->rows[row]));
  }
  return TF_NewTensor(TF_STRING, &input->row_count, 1, strings, size, free_strings, NULL);
}

static void print_strings(const TF_Tensor* tensor) {
  if (TF_TensorType(tensor) != TF_STRING) fail("first output", "must be strings");
  const TF_TString* strings = TF_TensorData(tensor);
  for (int64_t i = 0; i < TF_TensorElementCount(tensor); ++i) {
    size_t size = TF_StringGetSize(&strings[i]);
    printf("%zu\n", size);
    fwrite(TF_StringGetDataPointer(&strings[i]), 1, size, stdout);
    printf("\n");
  }
}

static void add_input(Input* inputs, int* count, const char* argument) {
  const char* equals = strchr(argument, '=');
  if (equals == NULL) fail(argument, "must be TENSOR=STRING");
  size_t size = (size_t)(equals - argument);
  int i = 0;
  while (i < *count && (inputs[i].tensor_size != size || memcmp(inputs[i].tensor, argument, size) != 0)) ++i;
  if (i == MAX_TENSORS) fail(argument, "too many inputs");
  if (i == *count) {
    inputs[i] = (Input){.tensor = argument, .tensor_size = size};
    ++*count;
  }
  if (inputs[i].row_count == MAX_ROWS) fail(argument, "too many rows");
  inputs[i].rows[inputs[i].row_count++] = equals + 1;
}

int main(int argc, char** argv) {
  if (argc < 2) fail("usage", "DIR [--library FILE] --input TENSOR=STRING --output TENSOR");
  static Input inputs[MAX_TENSORS];
  const char* outputs[MAX_TENSORS];
  int input_count = 0, output_count = 0;
  TF_Status* status = TF_NewStatus();
  for (int i = 2; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--library") == 0) {
      TF_LoadLibrary(argv[i + 1], status);
      check(status, argv[i + 1]);
    } else if (strcmp(argv[i], "--input") == 0) {
      add_input(inputs, &input_count, argv[i + 1]);
    } else if (strcmp(argv[i], "--output") == 0 && output_count < MAX_TENSORS) {
      outputs[output_count++] = argv[i + 1];
    } else {
      fail(argv[i], "unknown or too many");
    }
  }
  if (output_count == 0) fail("usage", "at least one --output is needed");

  const char* tags[] = {"serve"};
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  TF_Session* session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status, argv[1]);

  TF_Output feeds[MAX_TENSORS], fetches[MAX_TENSORS];
  TF_Tensor *given[MAX_TENSORS], *found[MAX_TENSORS];
  for (int i = 0; i < input_count; ++i) {
    feeds[i] = find(graph, inputs[i].tensor, inputs[i].tensor_size);
    given[i] = string_tensor(&inputs[i]);
  }
  for (int i = 0; i < output_count; ++i) fetches[i] = find(graph, outputs[i], strlen(outputs[i]));
  TF_SessionRun(session, NULL, feeds, given, input_count, fetches, found, output_count, NULL, 0, NULL, status);
  check(status, "run");
  print_strings(found[0]);

  for (int i = 0; i < input_count; ++i) TF_DeleteTensor(given[i]);
  for (int i = 0; i < output_count; ++i) TF_DeleteTensor(found[i]);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
