"""The ops that the graph of an export may hold.

Found in exports of every head, signature, setting of generation and stored type of both families, with ops of
arithmetic that other releases of Keras and TensorFlow write in their place. An op that is not here, such as one that
reads or writes files, runs Python or reaches the network, is refused whatever its name.
"""

# State, control and checks. `RestoreV2` reads the weights; nothing writes.
_CONTROL = """
    Assert AssignVariableOp BatchFunction Case HashTableV2 If LookupTableFindV2 LookupTableImportV2 NoOp PartitionedCall
    Placeholder RandomUniformInt ReadVariableOp RestoreV2 StatefulPartitionedCall StatelessIf StatelessWhile
    VarHandleOp While
"""
# Tokenizers of tensorflow-text.
_TEXT = """
    TFText>FastSentencepieceDetokenize TFText>FastSentencepieceTokenize
"""
# Arithmetic, arrays and strings, none with state.
_PURE = """
    Abs AddV2 All Any ArgMax BatchMatMulV2 BiasAdd Bitcast BitwiseAnd BitwiseOr BitwiseXor BroadcastTo Cast
    ConcatV2 Const Cumsum DecodeRaw DynamicStitch EnsureShape Equal Erfc Exp ExpandDims Fill FloorDiv FloorMod
    GatherV2 Greater GreaterEqual Identity IdentityN Less LessEqual Log LogSoftmax LogicalAnd LogicalNot
    LogicalOr LowerBound MatMul Max Maximum Mean Min Minimum Mul Neg NotEqual OnesLike Pack Pad PadV2
    PlaceholderWithDefault Pow Prod RaggedGather RaggedTensorToTensor Range RealDiv ReduceJoin Relu Reshape
    RightShift Roll Rsqrt ScatterNd SegmentMin Select SelectV2 Shape Sigmoid Size Slice Softmax Square
    SquaredDifference Squeeze StaticRegexFullMatch StaticRegexReplace StopGradient StridedSlice StringJoin
    StringLength StringSplit Sub Substr Sum Tanh TensorListConcatV2 TensorListFromTensor TensorListGetItem
    TensorListReserve TensorListSetItem TensorListStack TensorScatterUpdate Tile TopKV2 Transpose
    UnicodeTranscode Unique Unpack UnsortedSegmentJoin Where ZerosLike
"""
# Their likes, which our exports do not hold today.
_LIKES = """
    AddN BatchMatMulV3 BroadcastArgs Ceil ClipByValue Cos Cumprod Einsum Elu Erf Expm1 Floor GatherNd
    InvertPermutation IsFinite IsInf IsNan LeakyRelu LeftShift LinSpace Log1p MirrorPad Mod MulNoNan OneHot Rank
    Reciprocal Relu6 ReverseV2 Rint Round SegmentMax SegmentSum Selu ShapeN Sign Sin Softplus Softsign Split
    SplitV Sqrt StatelessCase StringLower StringStrip StringUpper TensorListLength TensorListPushBack
    TensorScatterAdd TruncateDiv TruncateMod UniqueV2 UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentSum
    UpperBound Xdivy Xlogy
"""
ALLOWED_OPS = frozenset(" ".join((_CONTROL, _TEXT, _PURE, _LIKES)).split())
