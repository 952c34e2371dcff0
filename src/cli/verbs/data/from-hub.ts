/** `hub:ORG/NAME[@REVISION]` wherever a `qkv data` verb takes a path: the data set, fetched once and read from the cache of the hub's own tools. */
import { fetchSource } from '../../hub-source.ts';
import type { Verb } from '../../verb.ts';

/** The verb, with such words replaced by the folder that was fetched. */
export const readsHub = (verb: Verb): Verb => ({
  ...verb,
  async run(args, out) {
    const words = await Promise.all(
      args.words.map(async (word) => {
        const [, name, revision = 'main'] = /^hub:([^@]+)(?:@(.+))?$/.exec(word) ?? [];
        if (name === undefined) return word;
        const { path } = await fetchSource(name, { revision, file: null, endpoint: null, kind: 'dataset' }, out);
        return path;
      }),
    );
    return verb.run({ ...args, words }, out);
  },
});
