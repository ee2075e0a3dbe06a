// The actions that a rehearsal plays: small functions that do what the real ones do, as far as the workflows see it.
// Each takes { inputs, plan, job, workspace, github } and returns { ok, outputs, said }.
import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

export const PLAYED = {
  'actions/checkout': checkout,
  'actions/upload-artifact': uploadArtifact,
  'actions/download-artifact': downloadArtifact,
};

const done = (said = '', outputs = {}) => ({ ok: true, outputs, said });
const failed = said => ({ ok: false, outputs: {}, said });

// A clone of the bare origin at `ref`, as deep as asked for, with no credentials in it.
function checkout({ inputs, plan, workspace, github }) {
  if (String(inputs['persist-credentials']) !== 'false') return failed('checkout: leaves its token behind');
  const place = path.join(workspace, inputs.path ?? '.');
  const git = (...words) => execFileSync('git', words, { cwd: place, env: plan.environment, stdio: 'pipe' });
  const ref = inputs.ref || github.sha;
  const origin = `file://${plan.origin}`;
  fs.mkdirSync(place, { recursive: true });
  git('init', '--quiet');
  git('remote', 'add', 'origin', origin);
  try {
    if (String(inputs['fetch-depth']) === '0') git('fetch', '--quiet', 'origin', '+refs/heads/*:refs/remotes/origin/*', '--tags');
    const isCommit = /^[0-9a-f]{40}$/.test(ref);
    const depth = String(inputs['fetch-depth']) === '0' ? [] : ['--depth', '1'];
    if (isCommit) {
      git('fetch', '--quiet', ...depth, 'origin', ref);
      git('checkout', '--quiet', '--detach', ref);
    } else {
      git('fetch', '--quiet', ...depth, 'origin', `+refs/heads/${ref}:refs/remotes/origin/${ref}`);
      git('checkout', '--quiet', '-B', ref, '--track', `origin/${ref}`);
    }
  } catch (error) {
    return failed(`checkout: ${error.stderr ?? error}`);
  }
  return done();
}

// The files that a list of paths and patterns names, below their nearest common folder, hidden ones left out.
function uploadArtifact({ inputs, plan, workspace }) {
  const patterns = inputs.path.split('\n').map(each => each.trim()).filter(Boolean);
  const searched = patterns.map(each => path.join(workspace, each));
  const files = searched.flatMap(each => found(each));
  if (!files.length) {
    return inputs['if-no-files-found'] === 'ignore' ? done('nothing') : failed(`upload-artifact: no ${inputs.path}`);
  }
  const roots = searched.length === 1 && !files.includes(searched[0]) && !searched[0].includes('*')
    ? [searched[0] + path.sep] : files;
  const root = common(roots);
  const artifact = path.join(plan.artifacts, inputs.name);
  if (fs.existsSync(artifact) && String(inputs.overwrite) !== 'true') {
    return failed(`upload-artifact: an artifact ${inputs.name} is there already`); // GitHub says 409
  }
  fs.rmSync(artifact, { recursive: true, force: true });
  for (const file of files) {
    const target = path.join(artifact, path.relative(root, file));
    fs.mkdirSync(path.dirname(target), { recursive: true });
    fs.copyFileSync(file, target); // a link becomes what it leads to
  }
  fs.writeFileSync(`${artifact}.sha256`, digest(artifact));
  return done(files.map(file => path.relative(root, file)).sort().join('\n'));
}

function downloadArtifact({ inputs, plan, workspace }) {
  const artifact = path.join(plan.artifacts, inputs.name);
  if (!fs.existsSync(artifact)) return failed(`download-artifact: there is no ${inputs.name}`);
  if (fs.readFileSync(`${artifact}.sha256`, 'utf8') !== digest(artifact)) {
    return failed(`download-artifact: ${inputs.name} is not what was uploaded`);
  }
  fs.cpSync(artifact, path.join(workspace, inputs.path), { recursive: true, verbatimSymlinks: true });
  return done();
}

// The commands of this checkout's environment: what `make setup` leaves in .venv, by the environment of the tests;
// `mergeline` and `dvc` are forked from a process that has imported them (tests/warm). The code is the clone's own,
// unless that is a link to this checkout's.
export function setUp({ plan, workspace }) {
  const folder = path.join(workspace, '.venv', 'bin');
  const linked = fs.lstatSync(path.join(workspace, 'src'), { throwIfNoEntry: false })?.isSymbolicLink();
  const source = linked ? '' : `export PYTHONPATH='${workspace}/src'`;
  fs.mkdirSync(folder, { recursive: true });
  const commands = { mergeline: plan.mergeline, dvc: plan.dvc, python: `'${plan.python}'` };
  for (const [name, command] of Object.entries(commands)) {
    fs.writeFileSync(path.join(folder, name), `#!/bin/sh\n${source}\nexec ${command} "$@"\n`, { mode: 0o755 });
  }
  return done();
}

function found(pattern) {
  if (pattern.includes('*')) {
    const matches = new RegExp(`^${path.basename(pattern).replaceAll('.', '\\.').replaceAll('*', '[^/]*')}$`);
    const folder = path.dirname(pattern);
    const names = fs.existsSync(folder) ? fs.readdirSync(folder) : [];
    return names.filter(name => matches.test(name)).flatMap(name => found(path.join(folder, name)));
  }
  if (!fs.existsSync(pattern) || path.basename(pattern).startsWith('.')) return [];
  if (!fs.statSync(pattern).isDirectory()) return [pattern];
  return fs.readdirSync(pattern).flatMap(name => found(path.join(pattern, name)));
}

function common(paths) {
  const [first, ...others] = paths.map(each => path.dirname(each + (each.endsWith(path.sep) ? '.' : '')).split(path.sep));
  const length = others.reduce((most, each) => {
    const differs = first.findIndex((part, index) => part !== each[index]);
    return Math.min(most, differs < 0 ? first.length : differs);
  }, first.length);
  return first.slice(0, length).join(path.sep);
}

function digest(folder) {
  const hash = crypto.createHash('sha256');
  for (const file of found(folder).sort()) hash.update(path.relative(folder, file)).update(fs.readFileSync(file));
  return hash.digest('hex');
}
