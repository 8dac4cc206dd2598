// The loop of the Lambda Runtime API, in the place of aws-lambda-ric, which compiles libcurl with
// cmake when it is installed. Blocking polls over one connection that is kept, as there.

import http from "node:http";

import { handler } from "./handler.js";

const api = process.env.AWS_LAMBDA_RUNTIME_API;
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const url = `http://${api}/2018-06-01/runtime/invocation/${path}`;
    const request = http.request(url, { method, agent }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => resolve({ headers: response.headers, text: Buffer.concat(parts).toString() }));
      response.on("error", reject);
    });
    request.on("error", reject);
    if (body === undefined) {
      request.end();
    } else {
      const bytes = Buffer.from(JSON.stringify(body));
      request.setHeader("content-type", "application/json");
      request.setHeader("content-length", bytes.length);
      request.end(bytes);
    }
  });
}

for (;;) {
  const next = await call("GET", "next");
  const id = next.headers["lambda-runtime-aws-request-id"];
  try {
    await call("POST", `${id}/response`, await handler(JSON.parse(next.text), { awsRequestId: id }));
  } catch (error) {
    console.error(error);
    await call("POST", `${id}/error`, { errorType: error.name, errorMessage: error.message });
  }
}
