// Reads questions from stdin, answers them on stdout, both as JSON:
//   { "workflows": [file], "actions": [file] }                          -> { file: [what GitHub's parser objects to] }
//   { "expression": text, "cases": [{ "contexts": {}, "status": {} }] } -> [the value in each case]
//   { "questions": [the same] }                                         -> [[the value in each case] of each question]
import fs from 'node:fs';
import { evaluate, readAction, readWorkflow } from './github.mjs';

const asked = JSON.parse(fs.readFileSync(0, 'utf8'));
let answer;
const valuesOf = ({ expression, cases }) => cases.map(({ contexts, status }) => evaluate(expression, contexts, status));
if (asked.questions) answer = asked.questions.map(valuesOf);
else if (asked.expression) answer = valuesOf(asked);
else {
  answer = {};
  for (const file of asked.workflows ?? []) answer[file] = (await readWorkflow(file)).errors;
  for (const file of asked.actions ?? []) answer[file] = readAction(file).errors;
}
console.log(JSON.stringify(answer));
