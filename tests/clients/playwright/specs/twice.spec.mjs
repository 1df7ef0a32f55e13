// The same tests in two browser projects: other ids, same titles.
import { expect, test } from "@playwright/test";

for (let n = 0; n < 10; n++) {
  test(`belongs to a project ${n}`, async ({}, { project }) => {
    console.log(`${project.name} ${n}`);
  });
}

test("fails on mobile only", async ({}, { project }) => {
  expect(project.name).toBe("desktop");
});
