/* The search reads each word as a beginning, so that "do" finds "domain" and "I" finds
   "identify". Drop the words that its index leaves out, but the one being typed; and the
   signs in package:// or log:, which it would take for the name of a field. */
const COMMON = new Set(
  ("a about after all also an and any are as at be been but by can change could did do does " +
    "for from get had has have how i if in into is it its like may me most must my no " +
    "not of off on only or other our own should so some than that the their then there " +
    "these this to too use was we what when where which while who why will with would you " +
    "your").split(" "),
);
const QUERY = 2; // the type of a message with a question
const post = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (message, ...rest) {
  if (message?.type === QUERY) {
    const words = message.data.replace(/[:\/^~*]+/g, " ").trimEnd().split(/\s+/);
    const last = words.pop();
    const kept = words.filter((word) => !COMMON.has(word.toLowerCase()));
    message = { ...message, data: [...kept, last].join(" ") };
  }
  return post.call(this, message, ...rest);
};
