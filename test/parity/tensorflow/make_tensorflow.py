"""Golden files of TensorFlow's formats: a tiny BERT with random weights as transformers' TFBertForPreTraining saves it (tf_model.h5, Keras' HDF5),
and the same weights as Google published BERT (a checkpoint that tf.compat.v1.train.Saver writes, in two shards of variables and with the
optimiser's slots beside them). Expected values are those of the TensorFlow model.

  python3 -m venv venv && venv/bin/pip install tensorflow-cpu==2.21.0 tf-keras==2.21.0 transformers==4.57.1
  USE_TORCH=0 USE_TF=1 venv/bin/python test/parity/tensorflow/make_tensorflow.py
"""
import gzip, json, os, re, shutil
os.environ['TF_USE_LEGACY_KERAS'] = '1'
import h5py
import numpy as np
import tensorflow as tf
import transformers
from transformers import BertConfig, TFBertForPreTraining

here = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(5)
config = BertConfig(vocab_size=29, hidden_size=6, num_hidden_layers=2, num_attention_heads=2, intermediate_size=10,
                    max_position_embeddings=11, type_vocab_size=2)
model = TFBertForPreTraining(config)
ids = np.array([[1, 5, 28, 7, 3], [2, 9, 4, 0, 0]])
segments = np.array([[0, 0, 1, 1, 1], [0, 0, 0, 0, 0]])
mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
feed = dict(input_ids=tf.constant(ids), token_type_ids=tf.constant(segments), attention_mask=tf.constant(mask))
model(**feed)
for w in model.weights:
    draw = rng.normal(0, 0.4, w.shape)
    w.assign(draw + 1 if w.name.endswith('gamma:0') else draw)
out = model(**feed, output_hidden_states=True)

folder = os.path.join(here, 'keras')
shutil.rmtree(folder, ignore_errors=True)
model.save_pretrained(folder, safe_serialization=False)
with open(os.path.join(folder, 'tf_model.h5'), 'rb') as f, gzip.GzipFile(os.path.join(folder, 'tf_model.h5.gz'), 'wb', mtime=0) as z:
    z.write(f.read())  # a tenth of the size
os.remove(os.path.join(folder, 'tf_model.h5'))
# small.weights.h5.gz beside it: keras 3.15.1, set_random_seed(1), Sequential([Input((3,)), Dense(2), LayerNormalization(), Dense(1)]).save_weights

# Google's names. The checkpoint of 2018 was made by a training run: Adam's moments and the step lie beside the weights.
def google(name):
    name = name.removesuffix(':0').split('/', 1)[1]
    name = re.sub(r'^(mlm|nsp)___', '', name).replace('layer_._', 'layer_')
    name = name.replace('word_embeddings/weight', 'word_embeddings')
    name = re.sub(r'(token_type|position)_embeddings/embeddings', r'\1_embeddings', name)
    name = name.replace('predictions/bias', 'predictions/output_bias')
    return name.replace('seq_relationship/kernel', 'seq_relationship/output_weights').replace('seq_relationship/bias', 'seq_relationship/output_bias')

weights = [(google(w.name), w.numpy()) for w in model.weights]
folder = os.path.join(here, 'google')
shutil.rmtree(folder, ignore_errors=True)
os.makedirs(folder)
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    variables = []
    for name, value in weights:
        if name.endswith('seq_relationship/output_weights'):
            value = value.T  # (2, C) in the published file
        variables.append(tf.compat.v1.get_variable(name, initializer=value))
        if name == 'bert/pooler/dense/kernel':
            for slot in ('adam_m', 'adam_v'):
                variables.append(tf.compat.v1.get_variable(f'{name}/{slot}', initializer=np.abs(value)))
    variables.append(tf.compat.v1.get_variable('global_step', initializer=np.int64(7)))
    session.run(tf.compat.v1.global_variables_initializer())
    tf.compat.v1.train.Saver(variables).save(session, os.path.join(folder, 'bert_model.ckpt'), write_meta_graph=False, write_state=False)
settings = {k: getattr(config, k) for k in ('attention_probs_dropout_prob', 'hidden_act', 'hidden_dropout_prob', 'hidden_size', 'initializer_range',
            'intermediate_size', 'max_position_embeddings', 'num_attention_heads', 'num_hidden_layers', 'type_vocab_size', 'vocab_size')}
json.dump(settings, open(os.path.join(folder, 'bert_config.json'), 'w'), indent=1)

# Every dtype that qkv reads from a checkpoint, one with two data shards, an empty tensor and a scalar.
folder = os.path.join(here, 'dtypes')
shutil.rmtree(folder, ignore_errors=True)
os.makedirs(folder)
values = {f'{np.dtype(t).name}/x': (np.arange(6).reshape(2, 3) - (0 if np.dtype(t).kind == 'u' else 3)).astype(t)
          for t in ('f4', 'f8', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2')}
values |= {'bool/x': np.array([True, False]), 'empty': np.zeros((0, 4), 'f4'), 'scalar': np.float32(2.5)}
tensors = {k: tf.constant(v) for k, v in values.items()} | {'bfloat16/x': tf.cast(tf.constant([1.5, -2.0]), tf.bfloat16), 'text': tf.constant(['a', 'word'])}
names = sorted(tensors)
half = len(names) // 2
parts = []
for i, part in enumerate((names[:half], names[half:])):
    prefix = os.path.join(folder, f'part{i}')
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=part, shape_and_slices=[''] * len(part), tensors=[tensors[n] for n in part])
    parts.append(prefix)
tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=os.path.join(folder, 'all.ckpt'))

# A small HDF5 file with what Keras' own has no example of: other numbers, a scalar, nothing, text.
with h5py.File(os.path.join(here, 'small.h5'), 'w') as f:
    layer = f.create_group('dense').create_group('dense')
    for t in ('f2', 'f4', 'f8', 'i1', 'i2', 'i4', 'i8', 'u1'):
        layer[f'{np.dtype(t).name}:0'] = (np.arange(6).reshape(2, 3) - (0 if t == 'u1' else 3)).astype(t)
    layer['scalar:0'] = np.float32(2.5)
    layer['empty:0'] = np.zeros((0, 4), 'f4')
    layer['big-endian:0'] = np.zeros(2, '>f4')
    layer['text:0'] = 'words'
    f.attrs['layer_names'] = ['dense']

expected = {
    'versions': {'tensorflow': tf.__version__, 'transformers': transformers.__version__},
    'ids': ids.tolist(), 'segments': segments.tolist(), 'mask': mask.tolist(),
    'hidden': [h.numpy().tolist() for h in out.hidden_states],
    'logits': out.prediction_logits.numpy().tolist(),
}
json.dump(expected, open(os.path.join(here, 'expected.json'), 'w'))
for root, _, files in os.walk(here):
    for f in files:
        print(os.path.join(root, f), os.path.getsize(os.path.join(root, f)))
