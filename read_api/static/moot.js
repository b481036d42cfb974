// Starts GraphiQL on this very address, over HTTP and, for subscriptions, over WebSocket.
//
// Whoever signs up or in here stays signed in until the page is closed: the access token of the last answer that had
// one goes with every later request, and when it is over the cookie gives the next one. So does the position of the
// last mutation, so that you read what you wrote. A header typed into the Headers tab comes first.
"use strict";

(() => {
  const TOKEN = "moot.accessToken";
  const POSITION = "moot.position";
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

  const post = async (parameters, options) => {
    const given = (options && options.headers) || {};
    const result = await send(parameters, { ...remembered(), ...given });
    if (!isRefused(result) || !sessionStorage.getItem(TOKEN)) return result;
    // The access token is over. The cookie gives the next one; if not, the next request is a visitor's.
    sessionStorage.removeItem(TOKEN);
    await send({ query: REFRESH }, {});
    return sessionStorage.getItem(TOKEN) ? send(parameters, { ...remembered(), ...given }) : result;
  };

  const subscribe = (parameters, options) => {
    const given = (options && options.headers) || {};
    const authorization = given.Authorization || given.authorization || remembered().Authorization;
    const client = graphqlWs.createClient({
      url: url.replace(/^http/, "ws"),
      connectionParams: authorization ? { authorization } : {},
      lazy: true,
    });
    return {
      [Symbol.asyncIterator]: () => client.iterate(parameters),
    };
  };

  const isSubscription = (parameters, options) => {
    const definitions = options && options.documentAST ? options.documentAST.definitions : [];
    return definitions.some(
      (node) =>
        node.kind === "OperationDefinition" &&
        node.operation === "subscription" &&
        (!parameters.operationName || (node.name && node.name.value === parameters.operationName)),
    );
  };

  const fetcher = (parameters, options) =>
    isSubscription(parameters, options) ? subscribe(parameters, options) : post(parameters, options);

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
