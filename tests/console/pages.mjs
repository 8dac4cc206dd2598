// Every page of the console, by its name and address.

/** The pages of a server, which has feedback. */
export async function pages(hub) {
  const { data } = await hub.api("GET", "/v1/feedback?limit=100");
  const record = data.find(({ comment }) => comment) ?? data[0];
  const prompts = [...new Set(data.map(({ metadata }) => metadata?._prompt).filter(Boolean))];
  const query = (parameters) => new URLSearchParams(parameters);
  return {
    "sign-in": "/console/sign-in",
    "an invite": new URL(/^Console +(\S+)$/m.exec(hub.server.log())[1]).pathname,
    "no invite": "/console/invite/none",
    overview: "/console?range=30d",
    "overview, filtered": `/console?${query({ range: "30d", user: record.metadata._user, prompt: record.metadata._prompt })}`,
    "overview, nothing": "/console?prompt=nobody-wrote-this",
    prompts: "/console/prompts?range=30d",
    comparison: `/console/prompts?${query({ range: "30d", compare: prompts[0], with: prompts[1] })}`,
    feedback: "/console/feedback?range=30d",
    "feedback, filtered": "/console/feedback?range=30d&value_max=-1&has_comment=true",
    "feedback, nothing": "/console/feedback?user=nobody",
    trace: `/console/trace?${query({ trace_id: record.trace_id })}`,
    "find a trace": "/console/trace",
    "edit a record": `/console/edit?${query({ id: record.id })}`,
    "delete a record": `/console/delete?${query({ id: record.id })}`,
    "a wrong address": "/console?color=red",
  };
}

/** Of these, what shows itself without a session. */
export const OPEN = ["sign-in", "an invite", "no invite"];

/** Of an empty server. */
export const EMPTY = {
  overview: "/console",
  prompts: "/console/prompts",
  feedback: "/console/feedback",
  "a trace": "/console/trace?trace_id=none",
};
