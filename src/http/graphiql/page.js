// Mounts GraphiQL on this server. The token comes from the headers editor and goes with queries as a header and with
// subscriptions as the payload of connection_init. Headers are not stored in the browser.
"use strict";

(function () {
  const http = new URL("/graphql", window.location.href);
  const socket = new URL(http);
  socket.protocol = http.protocol === "https:" ? "wss:" : "ws:";

  function hasToken(headers) {
    const name = Object.keys(headers).find((name) => name.toLowerCase() === "authorization");
    return name !== undefined && /^bearer\s+\S/i.test(headers[name]);
  }

  function fetcher(parameters, options) {
    const headers = (options && options.headers) || {};
    if (!hasToken(headers)) {
      const message = 'Enter a token in the headers editor: {"Authorization": "Bearer <token>"}';
      return Promise.resolve({ errors: [{ message: message }] });
    }
    const client = graphqlWs.createClient({ url: socket.href, connectionParams: headers });
    return GraphiQL.createFetcher({ url: http.href, wsClient: client })(parameters, options);
  }

  const root = ReactDOM.createRoot(document.getElementById("graphiql"));
  root.render(
    React.createElement(GraphiQL, {
      fetcher: fetcher,
      shouldPersistHeaders: false,
      isHeadersEditorEnabled: true,
      defaultHeaders: '{\n  "Authorization": "Bearer "\n}',
      defaultEditorToolsVisibility: "headers",
    })
  );
})();
