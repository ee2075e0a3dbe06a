// Rehearses a workflow: job by job in the order of `needs`, each in a workspace and a home of its own.
//
// Reads a plan from stdin and writes a report to stdout, both JSON; says nothing of how well it went by its exit code.
// Real: GitHub's parser and evaluator, implied success(), ids, outputs, needs, matrix, composite actions, shells, the
// files of the environment, continue-on-error, timeouts. Played: the actions of actions.mjs. Any other action has to
// have its end in the plan, so that none is passed over unseen. Not there: services, containers, reusable workflows.
//
// The plan: { workflow, event, payload, sha, ref, repository, vars, secrets, origin (a bare repository), place (a folder
//   for workspaces), artifacts (a folder), python (a path), mergeline and dvc (what a shell calls), environment,
//   actions: { name: { ok, outputs, env } }, setup (the action that sets up), given: { job: { result, outputs } } (not
//   run, taken as ended so), before: { job: [command, ...] }, cancelBefore: job, killAfter: { job: step } (its runner is
//   lost then), api (an address), path (a folder of further commands) }.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { PLAYED, setUp } from './actions.mjs';
import { holds, readAction, readWorkflow, valueOf } from './github.mjs';

const plan = JSON.parse(fs.readFileSync(0, 'utf8'));
const { errors, document, jobs } = await readWorkflow(plan.workflow);
const report = { errors, jobs: {} };
let cancelled = false;
if (!errors.length) for (const job of inOrder(jobs)) report.jobs[job.id.value] = runJob(job, document.find('jobs').find(job.id.value));
console.log(JSON.stringify(report));

function inOrder(all) {
  const left = [...all];
  const order = [];
  while (left.length) {
    const next = left.findIndex(job => needsOf(job).every(id => order.some(each => each.id.value === id)));
    if (next < 0) throw new Error('needs: a circle');
    order.push(...left.splice(next, 1));
  }
  return order;
}

function needsOf(job) {
  return (job.needs ?? []).map(each => each.value);
}

// GitHub's success() and failure() of a job look at all that it waits for, however far away.
function ancestors(job) {
  const near = needsOf(job);
  return [...near, ...near.flatMap(id => ancestors(jobs.find(each => each.id.value === id)))];
}

function contextsOf(job) {
  const payload = plan.payload ?? {};
  const ref = plan.ref ?? 'refs/heads/main';
  return {
    github: {
      event_name: plan.event,
      event: payload,
      sha: plan.sha,
      ref,
      ref_name: ref.replace(/^refs\/(heads|tags)\//, ''),
      head_ref: payload.pull_request?.head?.ref ?? '',
      base_ref: payload.pull_request?.base?.ref ?? '',
      repository: plan.repository,
      repository_owner: plan.repository.split('/')[0],
      actor: 'someone',
      workflow: valueOf(document.find('name'), {}),
      job: job.id.value,
      run_id: '1',
      run_number: '1',
      run_attempt: '1',
      server_url: 'https://github.com',
      api_url: plan.api ?? 'http://127.0.0.1:9', // nobody listens there
      token: `token-of-${job.id.value}`,
    },
    vars: plan.vars ?? {},
    secrets: plan.secrets ?? {},
    inputs: {},
    needs: Object.fromEntries(needsOf(job).map(id => [id, { result: report.jobs[id].result, outputs: report.jobs[id].outputs }])),
  };
}

function runJob(job, token) {
  const id = job.id.value;
  if (plan.given?.[id]) return { outputs: {}, steps: [], ...plan.given[id] };
  if (plan.cancelBefore === id) cancelled = true;
  const contexts = contextsOf(job);
  const before = ancestors(job).map(each => report.jobs[each].result);
  const status = {
    ok: before.every(result => result === 'success'),
    failed: before.includes('failure'),
    cancelled,
  };
  if (!holds(job.if.expression, contexts, status)) {
    return { result: cancelled ? 'cancelled' : 'skipped', outputs: {}, steps: [] };
  }
  if (plan.before?.[id]) {
    const ran = spawnSync(plan.before[id][0], plan.before[id].slice(1), { env: plan.environment, encoding: 'utf8' });
    if (ran.status !== 0) throw new Error(`before ${id}: ${ran.stderr}`);
  }
  const legs = legsOf(valueOf(token.find('strategy'), contexts)).map((matrix, number) => {
    const place = path.join(plan.place, number ? `${id}-${number + 1}` : id);
    return runLeg(job, token, { ...contexts, matrix }, place);
  });
  return {
    result: legs.some(leg => leg.result === 'failure') ? 'failure' : 'success',
    outputs: Object.assign({}, ...legs.map(leg => leg.outputs)),
    environment: legs[0].environment,
    seconds: legs.reduce((sum, leg) => sum + leg.seconds, 0),
    steps: legs.flatMap(leg => leg.steps),
    summary: legs.map(leg => leg.summary).join(''),
    said: legs.map(leg => leg.said).join(''),
  };
}

// The rows of a matrix: the product, without what is excluded, with what is included laid over or added.
function legsOf(strategy) {
  const { include = [], exclude = [], ...axes } = strategy?.matrix ?? {};
  const names = Object.keys(axes);
  const agrees = (row, other) => Object.entries(other).every(([key, value]) => row[key] === value);
  const product = names.reduce((rows, name) => rows.flatMap(row => axes[name].map(value => ({ ...row, [name]: value }))), [{}]);
  const rows = names.length ? product.filter(row => !exclude.some(each => agrees(row, each))) : [];
  const own = rows.map(row => ({ ...row }));
  for (const extra of include) {
    const shared = Object.fromEntries(Object.entries(extra).filter(([key]) => names.includes(key)));
    const fits = own.flatMap((row, index) => (agrees(row, shared) ? [index] : []));
    if (fits.length && names.length) fits.forEach(index => Object.assign(rows[index], extra));
    else rows.push({ ...extra });
  }
  return rows.length ? rows : [{}];
}

function runLeg(job, token, contexts, place) {
  const leg = {
    id: job.id.value,
    workspace: path.join(place, 'work'),
    home: path.join(place, 'home'),
    temp: path.join(place, 'temp'),
    path: [],
    failed: false,
    killed: false,
    steps: [],
    summary: '',
    said: '',
  };
  const began = performance.now();
  for (const folder of [leg.workspace, leg.home, leg.temp]) fs.mkdirSync(folder, { recursive: true });
  const environment = valueOf(token.find('environment'), contexts);
  const scope = {
    ...contexts,
    github: { ...contexts.github, workspace: leg.workspace },
    runner: { os: 'Linux', arch: 'X64', temp: leg.temp, name: 'rehearsal' },
    job: { status: 'success' },
    strategy: {},
    steps: {},
    env: {},
  };
  scope.env = texts(valueOf(document.find('env'), scope));
  scope.env = { ...scope.env, ...texts(valueOf(token.find('env'), scope)) };
  const defaults = valueOf(token.find('defaults') ?? document.find('defaults'), scope)?.run ?? {};
  runSteps(leg, scope, job.steps, [...token.find('steps')], defaults);
  return {
    result: leg.failed || leg.killed ? 'failure' : 'success',
    outputs: leg.killed ? {} : texts(valueOf(token.find('outputs'), scope)), // nobody is left to tell them
    seconds: (performance.now() - began) / 1000,
    environment: (typeof environment === 'object' ? environment?.name : environment) || null,
    steps: leg.steps,
    summary: leg.summary,
    said: leg.said,
  };
}

function runSteps(leg, scope, steps, tokens, defaults) {
  let failed = false;
  steps.forEach((step, number) => {
    if (leg.killed) return;
    const token = tokens[number];
    const status = { ok: !failed, failed, cancelled };
    const name = valueOf(token.find('name'), scope, status) ?? step.id;
    const entry = { name };
    leg.steps.push(entry);
    if (!holds(step.if.expression, scope, status)) {
      entry.outcome = 'skipped';
      scope.steps[step.id] = { outcome: 'skipped', conclusion: 'skipped', outputs: {} };
      return;
    }
    const local = { ...scope, env: { ...scope.env, ...texts(valueOf(token.find('env'), scope, status)) } };
    const ended = step.run ? runShell(leg, scope, local, token, defaults) : runAction(leg, local, token, entry);
    Object.assign(scope.env, ended.env);
    const outcome = ended.ok ? 'success' : 'failure';
    const forgiven = !ended.ok && valueOf(token.find('continue-on-error'), local, status) === true;
    failed ||= !ended.ok && !forgiven;
    scope.steps[step.id] = { outcome, conclusion: forgiven ? 'success' : outcome, outputs: ended.outputs };
    Object.assign(entry, { outcome, said: ended.said, outputs: ended.outputs });
    leg.said += `-- ${name}: ${outcome}\n${ended.said}\n`;
    leg.killed = plan.killAfter?.[leg.id] === name;
  });
  leg.failed ||= failed;
}

function runShell(leg, scope, local, token, defaults) {
  const shell = valueOf(token.find('shell'), local) ?? defaults.shell;
  const files = Object.fromEntries(['OUTPUT', 'ENV', 'PATH', 'STEP_SUMMARY'].map(kind => {
    const file = path.join(leg.temp, `${kind}-${leg.steps.length}`);
    fs.writeFileSync(file, '');
    return [kind, file];
  }));
  const script = path.join(leg.temp, `step-${leg.steps.length}.sh`);
  fs.writeFileSync(script, String(valueOf(token.find('run'), local)));
  const event = path.join(leg.temp, 'event.json');
  fs.writeFileSync(event, JSON.stringify(local.github.event));
  const own = Object.fromEntries(Object.entries(local.github)
    .filter(([key, value]) => typeof value === 'string' && key !== 'token')
    .map(([key, value]) => [`GITHUB_${key.toUpperCase()}`, value]));
  const env = {
    ...plan.environment,
    ...own,
    HOME: leg.home,
    CI: 'true',
    GITHUB_ACTIONS: 'true',
    GITHUB_EVENT_PATH: event,
    RUNNER_TEMP: leg.temp,
    RUNNER_OS: 'Linux',
    ...Object.fromEntries(Object.entries(files).map(([kind, file]) => [`GITHUB_${kind}`, file])),
    ...local.env,
  };
  env.PATH = [...leg.path, plan.path, env.PATH].filter(Boolean).join(':');
  // with no shell named GitHub leaves out pipefail
  const words = { bash: ['--noprofile', '--norc', '-eo', 'pipefail'], undefined: ['-e'], sh: ['-e'] }[shell];
  if (!words) return { ok: false, outputs: {}, said: `no shell ${shell} here` };
  const minutes = Number(valueOf(token.find('timeout-minutes'), local) ?? 360);
  const ran = spawnSync(shell === 'sh' ? 'sh' : 'bash', [...words, script], {
    cwd: path.resolve(leg.workspace, valueOf(token.find('working-directory'), local) ?? '.'),
    env,
    encoding: 'utf8',
    timeout: minutes * 60_000,
    maxBuffer: 64 * 1024 * 1024,
  });
  Object.assign(scope.env, entriesOf(fs.readFileSync(files.ENV, 'utf8')));
  leg.path.unshift(...fs.readFileSync(files.PATH, 'utf8').split('\n').filter(Boolean));
  leg.summary += fs.readFileSync(files.STEP_SUMMARY, 'utf8');
  const said = `${ran.stdout ?? ''}${ran.stderr ?? ''}`;
  return { ok: ran.status === 0, outputs: entriesOf(fs.readFileSync(files.OUTPUT, 'utf8')), said };
}

function runAction(leg, local, token, entry) {
  entry.uses = valueOf(token.find('uses'), local);
  const inputs = valueOf(token.find('with'), local) ?? {};
  entry.with = inputs;
  const [name] = entry.uses.split('@');
  const part = { inputs, plan, workspace: leg.workspace, github: local.github };
  if (plan.actions?.[name]) return { outputs: {}, said: '', ...plan.actions[name] };
  if (name === plan.setup) return setUp(part);
  if (PLAYED[name]) return PLAYED[name](part);
  if (name.startsWith('./')) return runComposite(leg, local, path.join(leg.workspace, name), inputs);
  return { ok: false, outputs: {}, said: `no part for ${entry.uses} in this rehearsal` };
}

function runComposite(leg, local, folder, given) {
  const file = path.join(folder, 'action.yml');
  if (!fs.existsSync(file)) return { ok: false, outputs: {}, said: `no action at ${file}` };
  const { errors: wrong, document: own, action } = readAction(file);
  if (wrong.length || action.runs.using !== 'composite') return { ok: false, outputs: {}, said: `not composite: ${wrong}` };
  const inputs = Object.fromEntries((action.inputs ?? []).map(each => [each.id, given[each.id] ?? valueOf(each.default, local) ?? '']));
  const scope = { ...local, inputs, steps: {} };
  const inner = { ...leg, failed: false };
  runSteps(inner, scope, action.runs.steps, [...own.find('runs').find('steps')], {});
  Object.assign(leg, { summary: inner.summary, said: inner.said });
  Object.assign(local.env, scope.env);
  const outputs = Object.fromEntries((action.outputs ?? []).map(each => [each.id, valueOf(each.value, scope)]));
  return { ok: !inner.failed, outputs, said: '' };
}

function texts(mapping) {
  return Object.fromEntries(Object.entries(mapping ?? {}).map(([key, value]) => [key, value === null ? '' : String(value)]));
}

// NAME=value and NAME<<END ... END, as GITHUB_OUTPUT and GITHUB_ENV take them.
function entriesOf(text) {
  const lines = text.split('\n');
  const found = {};
  while (lines.length) {
    const line = lines.shift();
    const several = line.match(/^([^=<]+)<<(.+)$/);
    if (several) {
      const end = lines.indexOf(several[2]);
      if (end < 0) throw new Error(`no line ${several[2]} that ends ${several[1]}`);
      found[several[1]] = lines.splice(0, end + 1).slice(0, -1).join('\n');
    } else if (line) {
      const split = line.indexOf('=');
      if (split < 1) throw new Error(`not NAME=value: ${line}`);
      found[line.slice(0, split)] = line.slice(split + 1);
    }
  }
  return found;
}
