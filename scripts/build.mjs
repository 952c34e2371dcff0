// Builds what the program needs: TypeScript → dist/, and the C++ addon when there is a compiler.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { chmodSync, cpSync, existsSync, rmSync } from 'node:fs';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = (command, args) =>
  spawnSync(command, args, { cwd: root, stdio: 'inherit', shell: process.platform === 'win32' }).status;

// The first `npx qkv` in a folder links this package, for which npm runs `prepare` again: what `npm ci` built stays.
if (process.env.npm_command === 'exec' && existsSync(`${root}dist/cli/main.js`)) process.exit(0);

rmSync(`${root}dist`, { recursive: true, force: true });
if (run('npx', ['--no-install', 'tsc', '-p', 'tsconfig.build.json']) !== 0) process.exit(1);
chmodSync(`${root}dist/cli/main.js`, 0o755);
cpSync(`${root}src/serve/annotate-page`, `${root}dist/serve/annotate-page`, { recursive: true }); // served as it is
if (run(process.execPath, ['native/build.mjs']) !== 0) process.exit(1);
