// Drives the example of the README (`page.mjs`): options url, token, task; the order "report" tells the text shown.
import { createInterface } from "node:readline";
import { followRun } from "./page.mjs";

const { url, token, task } = JSON.parse(process.argv[2]);
const say = (happened) => process.stdout.write(JSON.stringify(happened) + "\n");
let shown = "";
followRun(url, token, task, (text) => (shown = text));
createInterface({ input: process.stdin })
  .on("line", () => say({ event: "report", text: shown }))
  .on("close", () => process.exit(0));
say({ event: "started" });
