// Reads questions from stdin, answers them on stdout, both as JSON:
//   { "workflows": [file], "actions": [file] }                          -> { file: [what GitHub's parser objects to] }
//   { "expression": text, "cases": [{ "contexts": {}, "status": {} }] } -> [the value in each case]
import fs from 'node:fs';
import { evaluate, readAction, readWorkflow } from './github.mjs';

const asked = JSON.parse(fs.readFileSync(0, 'utf8'));
let answer;
if (asked.expression) {
  answer = asked.cases.map(({ contexts, status }) => evaluate(asked.expression, contexts, status));
} else {
  answer = {};
  for (const file of asked.workflows ?? []) answer[file] = (await readWorkflow(file)).errors;
  for (const file of asked.actions ?? []) answer[file] = readAction(file).errors;
}
console.log(JSON.stringify(answer));
