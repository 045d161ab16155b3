/** Where class names are looked for. */
export default {
  content: ["./templates/**/*.html", "./status/**/*.{html,py}", "./demo/**/*.{html,py}"],
  darkMode: "media",
};
