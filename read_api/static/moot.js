// Starts GraphiQL on this very address, over HTTP and, for subscriptions, over WebSocket.
//
// Whoever signs up or in here stays signed in until the page is closed or he signs out: the access token goes with
// every later request, and when it is over, or was not among the fields that were asked for, the cookie gives one. So
// does the position of the last mutation, so that you read what you wrote. A header typed into the Headers tab comes
// first.
"use strict";

(() => {
  const TOKEN = "moot.accessToken";
  const POSITION = "moot.position";
  const FORBIDDEN = 4403;
  const REFRESH_BEFORE_SECONDS = 30;
  const url = location.origin + location.pathname;

  const remembered = () => {
    const headers = {};
    const token = sessionStorage.getItem(TOKEN);
    const position = sessionStorage.getItem(POSITION);
    if (token) headers.Authorization = `Bearer ${token}`;
    if (position) headers["Moot-Position"] = position;
    return headers;
  };

  const remember = (result) => {
    for (const payload of Object.values((result && result.data) || {})) {
      if (payload && typeof payload.accessToken === "string") sessionStorage.setItem(TOKEN, payload.accessToken);
      if (payload && typeof payload.position === "string") sessionStorage.setItem(POSITION, payload.position);
    }
    for (const error of (result && result.errors) || []) {
      // Of a site that was set up anew since: forget it.
      if (error.extensions && error.extensions.code === "POSITION_INVALID") sessionStorage.removeItem(POSITION);
    }
    return result;
  };

  const send = async (parameters, headers) => {
    const response = await fetch(url, {
      method: "POST",
      credentials: "same-origin",
      headers: {
        "Content-Type": "application/json",
        Accept: "application/graphql-response+json, application/json",
        ...headers,
      },
      body: JSON.stringify(parameters),
    });
    return remember(await response.json());
  };

  const isRefused = (result) =>
    ((result && result.errors) || []).some(
      (error) => !error.path && error.extensions && error.extensions.code === "UNAUTHENTICATED",
    );

  const REFRESH = "mutation { refreshSession(input: {}) { accessToken } }";
  let refreshing = null;

  // The access token that the cookie gives, or null: then whoever asks next is a visitor. One at a time: a refresh
  // token that comes twice ends its session.
  const refresh = () => {
    refreshing =
      refreshing ||
      (async () => {
        sessionStorage.removeItem(TOKEN);
        await send({ query: REFRESH }, {});
        return sessionStorage.getItem(TOKEN);
      })().finally(() => {
        refreshing = null;
      });
    return refreshing;
  };

  // The operation that runs: its kind, and the names that its outermost braces hold. Strings, comments and all that
  // is in parentheses are taken out first, so that nothing in them looks like an operation.
  const operationOf = (parameters) => {
    let text = String(parameters.query || "").replace(/"""(?:\\"""|[^])*?"""|"(?:\\.|[^"\\\n])*"|#[^\n]*/g, " ");
    for (let before = null; before !== text; ) {
      before = text;
      text = text.replace(/\([^()]*\)/g, " ");
    }
    const operations = [];
    let depth = 0;
    let head = [];
    for (const [token] of text.matchAll(/[{}]|\w+/g)) {
      if (token === "{") {
        if (depth === 0) operations.push({ kind: head[0] || "query", name: head[1] || null, fields: [] });
        depth += 1;
      } else if (token === "}") {
        depth -= 1;
        head = [];
      } else if (depth === 0) {
        head.push(token);
      } else if (depth === 1) {
        operations[operations.length - 1].fields.push(token);
      }
    }
    const possible = operations.filter((one) => one.kind !== "fragment");
    const name = parameters.operationName;
    return possible.find((one) => !name || one.name === name) || { kind: "query", fields: [] };
  };

  const isDone = (payload) => payload && !(payload.errors && payload.errors.length);

  const post = async (parameters, options) => {
    const given = (options && options.headers) || {};
    const { kind, fields } = operationOf(parameters);
    const before = sessionStorage.getItem(TOKEN);
    let result = await send(parameters, { ...remembered(), ...given });
    if (isRefused(result) && before) {
      // The access token is over. The cookie gives the next one; if not, the next request is a visitor's.
      if (!(await refresh())) return result;
      result = await send(parameters, { ...remembered(), ...given });
    }
    if (kind !== "mutation" || !result.data || !Object.values(result.data).some(isDone)) return result;
    if (fields.includes("signOut")) {
      sessionStorage.removeItem(TOKEN);
    } else if (
      ["signUp", "signIn", "refreshSession"].some((field) => fields.includes(field)) &&
      !Object.values(result.data).some((payload) => payload && typeof payload.accessToken === "string")
    ) {
      await refresh(); // the session is begun, and its cookie is set; only its token was not asked for
    }
    return result;
  };

  const secondsLeft = (token) => {
    try {
      const claims = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
      return claims.exp - Date.now() / 1000;
    } catch {
      return 0;
    }
  };

  const authorization = async (given) => {
    if (given) return given;
    const token = sessionStorage.getItem(TOKEN);
    if (!token) return null;
    const fresh = secondsLeft(token) > REFRESH_BEFORE_SECONDS ? token : await refresh();
    if (!fresh) throw new Error("Your session is over: sign in again.");
    return `Bearer ${fresh}`;
  };

  const subscribe = (parameters, options) => {
    const given = (options && options.headers) || {};
    const typed = Object.keys(given).find((name) => name.toLowerCase() === "authorization");
    let acknowledged = false;
    const client = graphqlWs.createClient({
      url: url.replace(/^http/, "ws"),
      connectionParams: async () => {
        const value = await authorization(typed && given[typed]);
        return value ? { authorization: value } : {};
      },
      lazy: true,
      on: {
        connecting: () => {
          acknowledged = false;
        },
        connected: () => {
          acknowledged = true;
        },
      },
      // A token that was good and ran out is worth another, fresh one; a token that is refused, or none, is not.
      shouldRetry: (failure) =>
        !(failure instanceof Error) && (failure.code !== FORBIDDEN || (acknowledged && !typed)),
    });
    const results = client.iterate(parameters);
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      async next() {
        try {
          return await results.next();
        } catch (error) {
          if (!error || typeof error.code !== "number") throw error;
          throw new Error(`The server closed the connection: ${error.reason || "no reason given"} (${error.code})`);
        }
      },
      return: () => results.return(),
      throw: (error) => results.throw(error),
    };
  };

  const fetcher = (parameters, options) =>
    operationOf(parameters).kind === "subscription" ? subscribe(parameters, options) : post(parameters, options);

  const welcome = `# Moot. Ctrl-Enter runs the operation at the cursor; the book on the left is the schema.
#
# Sign up or in here and this page stays signed in until you close it.

query Newest {
  feed(sort: NEW, first: 10) {
    edges {
      node {
        id
        title
        author { name }
        community { name }
        score { total }
        commentCount
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`;

  ReactDOM.createRoot(document.getElementById("graphiql")).render(
    React.createElement(GraphiQL, { fetcher, defaultQuery: welcome, defaultEditorToolsVisibility: true }),
  );
})();
