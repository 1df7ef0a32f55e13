// A run with everything a reporter meets, without a browser. The test passes where to report to, and where the runner's
// own account of the run goes.
import { defineConfig } from "@playwright/test";

const report = JSON.parse(process.env.REPORT ?? "{}");

export default defineConfig({
  testDir: "./specs",
  outputDir: report.folder,
  fullyParallel: true,
  workers: 4,
  retries: 1,
  timeout: 1_000,
  reporter: [
    ["../reporter.mjs", report.reporter],
    ["json", { outputFile: report.truth }],
  ],
  projects: [{ name: "desktop" }, { name: "mobile", testMatch: /twice/ }],
});
