// Preload (node -r): servers that listen on all interfaces listen on 127.0.0.1 instead. TCP ports only.
const { Server } = require("node:net");
const listen = Server.prototype.listen;
Server.prototype.listen = function (...args) {
  if (typeof args[0] === "number" || (typeof args[0] === "string" && /^\d+$/.test(args[0]))) {
    const callback = args.find((each) => typeof each === "function");
    return listen.call(this, { port: Number(args[0]), host: "127.0.0.1" }, ...(callback ? [callback] : []));
  }
  if (args[0] && typeof args[0] === "object" && "port" in args[0]) args[0] = { ...args[0], host: "127.0.0.1" };
  return listen.apply(this, args);
};
