// Tabs of one real Chromium, each with a page that does nothing but `output += log`, with the default transports. Takes
// and says what `viewers.mjs` does; {"do":"offline","offline":true|false} is the browser's own switch.
//
// Options: url, token, tabs.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { chromium } from "@playwright/test";
import packed from "@sparticuz/chromium";

const options = JSON.parse(process.argv[2]);
const say = (happened) => process.stdout.write(JSON.stringify(happened) + "\n");

/** Runs in the page. */
function dashboard(token) {
  const viewer = {
    outputs: {}, statuses: {}, unknown: [], reasons: [], connects: 0, recovered: 0, welcomes: 0, refusals: 0,
  };
  const KNOWN = ["auth-success", "auth-error", "execution-log", "execution-updated"];
  const socket = io({ auth: { token }, reconnectionDelay: 50, reconnectionDelayMax: 150, timeout: 3000 });
  socket.on("connect", () => {
    viewer.connects += 1;
    viewer.recovered += socket.recovered ? 1 : 0;
  });
  socket.on("disconnect", (reason) => viewer.reasons.push(reason));
  socket.on("auth-success", () => (viewer.welcomes += 1));
  socket.on("auth-error", () => (viewer.refusals += 1));
  socket.on("execution-log", ({ taskId, log }) => {
    viewer.outputs[taskId] = (viewer.outputs[taskId] ?? "") + log;
  });
  socket.on("execution-updated", ({ taskId, status }) => (viewer.statuses[taskId] = status));
  socket.onAny((name) => KNOWN.includes(name) || viewer.unknown.push(name));
  window.report = (lengths) => ({
    ...viewer,
    outputs: lengths
      ? Object.fromEntries(Object.entries(viewer.outputs).map(([task, text]) => [task, text.length]))
      : viewer.outputs,
    connected: socket.connected,
    transport: socket.io.engine?.transport?.name ?? "",
  });
}

const library = readFileSync(new URL("node_modules/socket.io-client/dist/socket.io.min.js", import.meta.url), "utf8");
const html = `<!doctype html><title>runs</title><script>${library}</script>
  <script>(${dashboard})(${JSON.stringify(options.token)})</script>`;
const browser = await chromium.launch({
  executablePath: await packed.executablePath(),
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
const context = await browser.newContext();
// The page comes from the server's own origin, as a dashboard behind the same proxy does.
const address = `${options.url}/dashboard`;
await context.route(address, (route) => route.fulfill({ contentType: "text/html; charset=utf-8", body: html }));
const tabs = [];
for (let tab = 0; tab < options.tabs; tab += 1) {
  const page = await context.newPage();
  page.on("pageerror", (error) => console.error(error.message));
  await page.goto(address);
  tabs.push(page);
}

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const order = JSON.parse(line);
    if (order.do === "offline") {
      await context.setOffline(order.offline);
      say({ event: "done", order: order.do });
    } else {
      const viewers = await Promise.all(tabs.map((tab) => tab.evaluate((lengths) => report(lengths), order.do === "lengths")));
      say({ event: order.do, viewers });
    }
  })
  .on("close", async () => {
    await browser.close();
    process.exit(0);
  });
say({ event: "started", browser: browser.version() });
