// What GitHub makes of a workflow: its own parser and its own evaluator of expressions.
import fs from 'node:fs';
import { convertWorkflowTemplate, NoOperationTraceWriter, parseWorkflow } from '@actions/workflow-parser';
import { convertActionTemplate, parseAction } from '@actions/workflow-parser/actions/index';
import { ErrorPolicy } from '@actions/workflow-parser/model/convert';
import {
  isBasicExpression, isBoolean, isMapping, isNumber, isSequence, isString,
} from '@actions/workflow-parser/templates/tokens/type-guards';
import { data, Evaluator, Lexer, Parser } from '@actions/expressions';

const CONTEXTS = [
  'github', 'env', 'vars', 'job', 'jobs', 'steps', 'runner', 'secrets', 'strategy', 'matrix', 'needs', 'inputs',
];

// A workflow file as { errors, document (its tokens), jobs (what GitHub converts them to) }.
export async function readWorkflow(file) {
  const parsed = parseWorkflow({ name: file, content: fs.readFileSync(file, 'utf8') }, new NoOperationTraceWriter());
  const options = { errorPolicy: ErrorPolicy.TryConversion };
  const template = parsed.value && await convertWorkflowTemplate(parsed.context, parsed.value, undefined, options);
  return { errors: errorsOf(parsed), document: parsed.value, jobs: template?.jobs ?? [] };
}

// The same of an action.yml: { errors, document, action }.
export function readAction(file) {
  const parsed = parseAction({ name: file, content: fs.readFileSync(file, 'utf8') }, new NoOperationTraceWriter());
  const action = parsed.value && convertActionTemplate(parsed.context, parsed.value);
  return { errors: errorsOf(parsed), document: parsed.value, action };
}

function errorsOf(parsed) {
  return parsed.context.errors.getErrors().map(error => error.message);
}

// What the functions of status answer: all ended well, one failed, the run was cancelled.
export const GOOD = { ok: true, failed: false, cancelled: false };

const trees = new Map(); // by their expression: some are asked thousands of times

// An expression's value; `status` is what success(), failure() and cancelled() look at.
export function evaluate(expression, contexts, status = GOOD) {
  const answer = value => () => new data.BooleanData(value);
  const functions = [
    ['success', answer(status.ok && !status.cancelled)],
    ['failure', answer(status.failed && !status.cancelled)],
    ['cancelled', answer(status.cancelled)],
    ['always', answer(true)],
  ].map(([name, call]) => ({ name, minArgs: 0, maxArgs: 0, call }));
  if (!trees.has(expression)) trees.set(expression, new Parser(new Lexer(expression).lex().tokens, CONTEXTS, functions).parse());
  const tree = trees.get(expression);
  const known = JSON.parse(JSON.stringify(contexts), data.reviver);
  const result = new Evaluator(tree, known, new Map(functions.map(each => [each.name, each]))).evaluate();
  return JSON.parse(JSON.stringify(result, data.replacer));
}

// Whether an `if` holds.
export function holds(condition, contexts, status) {
  const value = evaluate(condition, contexts, status);
  return !(value === null || value === false || value === 0 || value === '' || Number.isNaN(value));
}

// A token of the document as a plain value, its expressions evaluated.
export function valueOf(token, contexts, status = GOOD) {
  if (token === undefined || token === null) return undefined;
  if (isBasicExpression(token)) return evaluate(token.expression, contexts, status);
  if (isMapping(token)) {
    const entries = [...token].map(({ key, value }) => [key, value].map(each => valueOf(each, contexts, status)));
    return Object.fromEntries(entries);
  }
  if (isSequence(token)) return [...token].map(each => valueOf(each, contexts, status));
  if (isString(token) || isNumber(token) || isBoolean(token)) return token.value;
  return null;
}
