// A Playwright reporter as the public one behaves, written from the API reference (ingest, section 7): it does not await
// its setup, throws away what happens before the answer, flushes every 2 s or 50 events without awaiting, tries once more
// after a network error and never after an HTTP error. What is odd here is odd there.
//
// Options as the public one's: apiKey, projectId, baseUrl, runName, environment, flushIntervalMs, maxBatchSize. One more
// for tests: `record`, a file that gets everything it sent, threw away and was answered.
import { writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";

const REPORTER_VERSION = "2.1.0";
const REQUEST_TIMEOUT_MS = 10_000;
const RETRY_PAUSE_MS = 1_000;
const SNAPSHOT_MAX = 8_192;
const SNAPSHOT_MARKER = "…[truncated]  ";

export default class Reporter {
  constructor(options = {}) {
    this.options = {
      baseUrl: "https://api.example.com",
      environment: "production",
      flushIntervalMs: 2_000,
      maxBatchSize: 50,
      ...options,
    };
    this.options.baseUrl = this.options.baseUrl.replace(/\/$/, "");
    this.enabled = Boolean(this.options.apiKey && this.options.projectId);
    if (!this.enabled) console.warn("[reporter] apiKey or projectId is missing: nothing is reported");
    this.session = undefined;
    this.queue = [];
    this.timer = undefined;
    this.lastFlush = Promise.resolve();
    this.summary = { total: 0, passed: 0, failed: 0, skipped: 0, duration: 0 };
    this.record = { setupMs: null, thrownAway: 0, batches: [], requests: [] };
  }

  printsToStdio() {
    return false;
  }

  // Not awaited by the runner.
  onBegin(_config, suite) {
    this.startedAt = Date.now();
    this.summary.total = suite.allTests().length;
    if (!this.enabled) return;
    void this.setUp().catch(() => {});
  }

  async setUp() {
    const { projectId, runName, environment } = this.options;
    const answer = await this.post("setup", {
      projectId,
      runName,
      framework: "playwright",
      reporterVersion: REPORTER_VERSION,
      totalTests: this.summary.total,
      environment,
      ciContext: ciContext(process.env),
    });
    this.record.setupMs = Date.now() - this.startedAt;
    this.session = answer?.data?.sessionId;
    this.record.session = answer?.data;
  }

  onTestBegin(test) {
    this.add({
      type: "test-begin",
      testId: test.id,
      title: test.titlePath().join(" › "),
      file: test.location.file,
      timestamp: Date.now(),
    });
  }

  onStdOut(chunk, test) {
    this.add({ type: "log", testId: test?.id, chunk: chunk.toString(), timestamp: Date.now() });
  }

  onStdErr(chunk, test) {
    this.add({ type: "log", testId: test?.id, chunk: `[stderr] ${chunk}`, timestamp: Date.now() });
  }

  onTestEnd(test, result) {
    const status = result.status === "interrupted" ? "failed" : result.status;
    if (status === "passed") this.summary.passed += 1;
    else if (status === "skipped") this.summary.skipped += 1;
    else this.summary.failed += 1;
    this.add({
      type: "test-end",
      testId: test.id,
      status,
      duration: result.duration,
      error: result.errors[0]?.message,
      timestamp: Date.now(),
      runtimeContext:
        status === "failed" || status === "timedOut" ? runtimeContext(test, result) : undefined,
    });
  }

  add(event) {
    if (!this.session) {
      this.record.thrownAway += 1;
      return;
    }
    this.queue.push(event);
    if (this.queue.length >= this.options.maxBatchSize) this.flush();
    else this.timer ??= setTimeout(() => this.flush(), this.options.flushIntervalMs);
  }

  // Not awaited by anybody but the end of the run.
  flush() {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.queue.length === 0) return;
    const events = this.queue.splice(0);
    this.record.batches.push(events);
    this.lastFlush = this.post("event", { sessionId: this.session, events }).then(
      () => {},
      () => {},
    );
  }

  async onEnd(result) {
    this.flush();
    await this.lastFlush;
    this.summary.duration = Date.now() - this.startedAt;
    if (this.session) {
      const status = result.status === "passed" ? "PASSED" : "FAILED";
      const teardown = { sessionId: this.session, status, summary: this.summary };
      try {
        this.record.teardown = await this.post("teardown", teardown);
      } catch {
        // The answer to a teardown changes nothing for the run.
      }
    }
    this.record.summary = this.summary;
    if (this.options.record) writeFileSync(this.options.record, JSON.stringify(this.record));
  }

  async post(endpoint, body) {
    const text = JSON.stringify(body);
    let response;
    try {
      response = await this.send(endpoint, text);
    } catch {
      await pause(RETRY_PAUSE_MS);
      response = await this.send(endpoint, text);
    }
    if (!response.ok) return undefined;
    return response.json();
  }

  async send(endpoint, text) {
    const started = Date.now();
    const request = { endpoint, bytes: Buffer.byteLength(text) };
    this.record.requests.push(request);
    try {
      const response = await fetch(`${this.options.baseUrl}/api/ingest/${endpoint}`, {
        method: "POST",
        headers: { "x-api-key": this.options.apiKey, "content-type": "application/json" },
        body: text,
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      request.status = response.status;
      return response;
    } finally {
      request.ms = Date.now() - started;
    }
  }
}

function runtimeContext(test, result) {
  const annotations = [...(result.annotations ?? []), ...test.annotations];
  const found = annotations.findLast(({ type }) => type === "agnox:runtimeContext");
  if (!found?.description) return undefined;
  try {
    const context = JSON.parse(found.description);
    if (context.domSnapshot?.length > SNAPSHOT_MAX) {
      context.domSnapshot = context.domSnapshot.slice(0, SNAPSHOT_MAX) + SNAPSHOT_MARKER;
    }
    return { ...context, retryIndex: result.retry };
  } catch {
    return undefined;
  }
}

export function ciContext(env) {
  const number = (text) => {
    const parsed = Number.parseInt(text ?? "", 10);
    return Number.isNaN(parsed) ? null : parsed;
  };
  if (env.GITHUB_ACTIONS) {
    const pull = /^refs\/pull\/(\d+)\//.exec(env.GITHUB_REF ?? "");
    return {
      source: "github",
      repository: env.GITHUB_REPOSITORY,
      branch: env.GITHUB_HEAD_REF || env.GITHUB_REF_NAME,
      prNumber: pull ? Number(pull[1]) : undefined,
      commitSha: env.GITHUB_SHA,
      runUrl: `${env.GITHUB_SERVER_URL}/${env.GITHUB_REPOSITORY}/actions/runs/${env.GITHUB_RUN_ID}`,
    };
  }
  if (env.GITLAB_CI) {
    return {
      source: "gitlab",
      repository: env.CI_PROJECT_PATH,
      branch: env.CI_COMMIT_REF_NAME,
      prNumber: env.CI_MERGE_REQUEST_IID === undefined ? undefined : number(env.CI_MERGE_REQUEST_IID),
      commitSha: env.CI_COMMIT_SHA,
      runUrl: env.CI_PIPELINE_URL,
    };
  }
  if (env.TF_BUILD) {
    return {
      source: "azure",
      repository: env.BUILD_REPOSITORY_NAME,
      branch: env.BUILD_SOURCEBRANCHNAME,
      prNumber: number(env.SYSTEM_PULLREQUEST_PULLREQUESTNUMBER),
      commitSha: env.BUILD_SOURCEVERSION,
      runUrl: env.SYSTEM_TEAMFOUNDATIONCOLLECTIONURI,
    };
  }
  if (env.JENKINS_URL) {
    return {
      source: "jenkins",
      repository: env.GIT_URL,
      branch: env.GIT_BRANCH,
      prNumber: number(env.CHANGE_ID),
      commitSha: env.GIT_COMMIT,
      runUrl: env.BUILD_URL,
    };
  }
  if (env.CI === "true") return { source: "local" };
  return undefined;
}
